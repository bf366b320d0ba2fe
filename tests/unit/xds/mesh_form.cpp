// SPDX-License-Identifier: Apache-2.0
#include "mesh_form.hpp"

#include <algorithm>
#include <set>

namespace mesh_form {

using namespace culvert;
using boost::json::array;
using boost::json::object;
using boost::json::value;

namespace {

template <class List, class F>
array array_of(const List& list, F&& form) {
    array result;
    for (const auto& item : list) result.push_back(value(form(item)));
    return result;
}

object ports(const state::PortMap& map) {
    object result;
    for (auto [port, target] : map) result[std::to_string(port)] = static_cast<std::int64_t>(target);
    return result;
}

object gateway(const state::GatewayAddress& address) {
    return {{"destination", address.to_string()}, {"hboneMtlsPort", static_cast<std::int64_t>(address.hbone_port)}};
}

value gateway(const std::optional<state::GatewayAddress>& address) {
    return address ? value(gateway(*address)) : value(nullptr);
}

object form(const state::Workload& w) {
    object tunnel;
    if (w.application_tunnel) {
        tunnel["protocol"] = w.application_tunnel->proxy_protocol ? "PROXY" : "NONE";
        tunnel["port"] = w.application_tunnel->port ? value(std::int64_t{w.application_tunnel->port}) : value(nullptr);
    }
    return {{"uid", w.uid},
            {"name", w.name},
            {"namespace", w.namespace_},
            {"trustDomain", w.trust_domain},
            {"serviceAccount", w.service_account},
            {"network", w.network},
            {"workloadName", w.workload_name},
            {"workloadType", w.workload_type},
            {"canonicalName", w.canonical_name},
            {"canonicalRevision", w.canonical_revision},
            {"hostname", w.hostname},
            {"node", w.node},
            {"clusterId", w.cluster_id},
            {"workloadIps", array_of(w.ips, [](auto& ip) { return ip.to_string(); })},
            {"protocol", to_string(w.protocol)},
            {"networkMode", to_string(w.network_mode)},
            {"status", to_string(w.status)},
            {"locality", {{"region", w.locality.region}, {"zone", w.locality.zone}, {"subzone", w.locality.subzone}}},
            {"capacity", static_cast<std::int64_t>(w.capacity)},
            {"authorizationPolicies", array_of(w.authorization_policies, [](auto& name) { return name; })},
            {"services", array_of(w.services, [](auto& entry) { return entry.first.to_string(); })},
            {"waypoint", gateway(w.waypoint)},
            {"networkGateway", gateway(w.network_gateway)},
            {"applicationTunnel", w.application_tunnel ? value(tunnel) : value(nullptr)},
            {"nativeTunnel", w.native_tunnel}};
}

object form(const state::LoadBalancer& balancer) {
    return {{"routingPreferences", array_of(balancer.preferences, [](auto scope) { return to_string(scope); })},
            {"mode", to_string(balancer.mode)},
            {"healthPolicy", to_string(balancer.health_policy)}};
}

object form(const state::Service& s, const state::Snapshot& mesh) {
    object endpoints;
    for (const state::Backend& backend : mesh.backends(s))
        endpoints[backend.workload->uid] = {{"workloadUid", backend.workload->uid},
                                            {"port", ports(backend.ports)},
                                            {"status", to_string(s.endpoints.at(backend.workload->uid).status)}};
    auto address = [](auto& vip) { return vip.network + "/" + vip.ip.to_string(); };
    auto range = [](auto& vip) { return object{{"network", vip.network}, {"cidr", vip.cidr.to_string()}}; };
    auto weighted = [](auto& waypoint) {
        return object{{"destination", gateway(waypoint.waypoint)},
                      {"weight", static_cast<std::int64_t>(waypoint.weight)}};
    };
    return {{"name", s.name},
            {"namespace", s.namespace_},
            {"hostname", s.hostname},
            {"vips", array_of(s.vips, address)},
            {"cidrVips", array_of(s.cidr_vips, range)},
            {"ports", ports(s.ports)},
            {"endpoints", endpoints},
            {"subjectAltNames", array_of(s.subject_alt_names, [](auto& name) { return name; })},
            {"waypoint", gateway(s.waypoint)},
            {"weightedWaypoints", array_of(s.weighted_waypoints, weighted)},
            {"loadBalancer", form(s.load_balancer)},
            {"ipFamilies", to_string(s.ip_families)},
            {"canonical", s.canonical},
            {"visibility", s.visible_only_in_namespace ? "Namespace" : "Public"}};
}

object form(const policy::StringMatch& match) {
    using enum policy::Form;
    if (match.form == presence) return {{"Presence", array{}}};
    return {{match.form == exact ? "Exact" : match.form == prefix ? "Prefix" : "Suffix", match.text}};
}

object form(const policy::Match& m) {
    object result;
    auto add = [&](const char* key, const auto& list, auto each) {
        if (!list.empty()) result[key] = array_of(list, each);
    };
    auto text = [](auto& match) { return form(match); };
    auto range = [](auto& cidr) { return cidr.to_string(); };
    auto port = [](auto number) { return static_cast<std::int64_t>(number); };
    auto account = [](auto& a) { return object{{"namespace", a.namespace_}, {"serviceAccount", a.service_account}}; };
    add("namespaces", m.namespaces, text);
    add("notNamespaces", m.not_namespaces, text);
    add("principals", m.principals, text);
    add("notPrincipals", m.not_principals, text);
    add("serviceAccounts", m.service_accounts, account);
    add("notServiceAccounts", m.not_service_accounts, account);
    add("sourceIps", m.source_ips, range);
    add("notSourceIps", m.not_source_ips, range);
    add("destinationIps", m.destination_ips, range);
    add("notDestinationIps", m.not_destination_ips, range);
    add("destinationPorts", m.destination_ports, port);
    add("notDestinationPorts", m.not_destination_ports, port);
    return result;
}

object form(const policy::Policy& p) {
    auto clause = [](auto& matches) { return array_of(matches, [](auto& match) { return form(match); }); };
    auto rule = [&](auto& clauses) { return array_of(clauses, clause); };
    return {{"name", p.name},
            {"namespace", p.namespace_},
            {"scope", to_string(p.scope)},
            {"action", to_string(p.action)},
            {"rules", array_of(p.rules, rule)},
            {"dryRun", p.dry_run}};
}

// What ztunnel leaves out when it has its default.
const object& workload_defaults() {
    static const object defaults = [] {
        object all = form(state::Workload{});
        return all;
    }();
    return defaults;
}

const object& service_defaults() {
    static const object defaults = [] {
        object all = form(state::Service{}, state::Snapshot{{}, {}});
        all["ipFamilies"] = "none said";
        return all;
    }();
    return defaults;
}

object with_defaults(const object& from, const object& defaults) {
    object all = defaults;
    for (const auto& [key, each] : from) all[key] = each;
    return all;
}

void sort_texts(value& list) {
    auto& texts = list.as_array();
    std::sort(texts.begin(), texts.end(), [](auto& a, auto& b) { return a.as_string() < b.as_string(); });
}

std::string text(const object& of, const char* key) {
    return std::string{of.at(key).as_string()};
}

void compare(const value& ours, const value& theirs, const std::string& path, std::vector<Difference>& found) {
    if (!ours.is_object() || !theirs.is_object()) {
        if (ours != theirs) found.push_back({path, serialize(ours), serialize(theirs)});
        return;
    }
    std::set<std::string> keys;
    for (const object* each : {&ours.as_object(), &theirs.as_object()})
        for (const auto& [key, v] : *each) keys.insert(std::string{key});
    for (const std::string& key : keys) {
        const value* a = ours.as_object().if_contains(key);
        const value* b = theirs.as_object().if_contains(key);
        std::string deeper = path.empty() ? key : path + "/" + key;
        if (a && b)
            compare(*a, *b, deeper, found);
        else
            found.push_back({deeper, a ? serialize(*a) : "nothing", b ? serialize(*b) : "nothing"});
    }
}

}

object of(const xds::Store& store) {
    auto mesh = store.mesh();
    object workloads, services, policies, staged;
    for (const auto& workload : mesh->workloads()) workloads[workload->uid] = form(*workload);
    for (const auto& service : mesh->services()) services[service->key().to_string()] = form(*service, *mesh);
    for (const auto& policy : store.policies()) policies[policy.key()] = form(policy);
    for (const auto& [key, endpoints] : store.aside()) {
        object& all = staged[key.to_string()].emplace_object();
        for (const auto& [uid, endpoint] : endpoints)
            all[uid] = {{"workloadUid", uid}, {"port", ports(endpoint.ports)}, {"status", to_string(endpoint.status)}};
    }
    return {{"workloads", workloads}, {"services", services}, {"policies", policies}, {"stagedServices", staged}};
}

object of_dump(const std::string& config_dump) {
    object from = boost::json::parse(config_dump).as_object();
    object workloads, services, policies;
    for (const value& each : from.at("workloads").as_array()) {
        object workload = with_defaults(each.as_object(), workload_defaults());
        sort_texts(workload["services"]);
        workloads[text(workload, "uid")] = workload;
    }
    for (const value& each : from.at("services").as_array()) {
        object service = with_defaults(each.as_object(), service_defaults());
        services[text(service, "namespace") + "/" + text(service, "hostname")] = service;
    }
    for (const value& each : from.at("policies").as_array())
        policies[text(each.as_object(), "namespace") + "/" + text(each.as_object(), "name")] = each;
    return {{"workloads", workloads},
            {"services", services},
            {"policies", policies},
            {"stagedServices", from.at("stagedServices")}};
}

std::vector<Difference> compare(const value& ours, const value& theirs) {
    std::vector<Difference> found;
    compare(ours, theirs, "", found);
    return found;
}

}
