// SPDX-License-Identifier: Apache-2.0
#include <culvert/dump/mesh.hpp>

#include <boost/json.hpp>

#include <algorithm>
#include <tuple>

namespace culvert::dump {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

template <class List, class Form>
array array_of(const List& list, Form form) {
    array all;
    all.reserve(list.size());
    for (const auto& one : list) all.push_back(value(form(one)));
    return all;
}

// Texts stay out when they are empty.
void put(object& into, const char* key, const std::string& text) {
    if (!text.empty()) into[key] = text;
}
template <class List, class Form>
void put(object& into, const char* key, const List& list, Form form) {
    if (!list.empty()) into[key] = array_of(list, form);
}

object to_json(const state::PortMap& map) {
    object ports;
    for (auto [port, target] : map) ports[std::to_string(port)] = target;
    return ports;
}

object to_json(const state::GatewayAddress& gateway) {
    return {{"destination", gateway.to_string()}, {"hboneMtlsPort", gateway.hbone_port}};
}
void put(object& into, const char* key, const std::optional<state::GatewayAddress>& gateway) {
    if (gateway) into[key] = to_json(*gateway);
}

object to_json(const state::ApplicationTunnel& tunnel) {
    return {{"protocol", tunnel.proxy_protocol ? "PROXY" : "NONE"},
            {"port", tunnel.port != 0 ? value(tunnel.port) : value(nullptr)}};
}

value services_of(const state::Workload& workload, As as) {
    if (as == As::held) return array_of(workload.services, [](const auto& one) { return one.first.to_string(); });
    object ports;
    for (const auto& [service, map] : workload.services) ports[service.to_string()] = to_json(map);
    return ports;
}

object to_json(const state::Workload& workload, As as) {
    object all{{"uid", workload.uid},
               {"workloadIps", array_of(workload.ips, [](const auto& ip) { return ip.to_string(); })},
               {"protocol", to_string(workload.protocol)},
               {"networkMode", to_string(workload.network_mode)},
               {"name", workload.name},
               {"namespace", workload.namespace_},
               {"trustDomain", workload.trust_domain},
               {"serviceAccount", workload.service_account},
               {"status", to_string(workload.status)},
               {"clusterId", workload.cluster_id},
               {"capacity", workload.capacity}};
    put(all, "network", workload.network);
    put(all, "workloadName", workload.workload_name);
    put(all, "workloadType", workload.workload_type);
    put(all, "canonicalName", workload.canonical_name);
    put(all, "canonicalRevision", workload.canonical_revision);
    put(all, "hostname", workload.hostname);
    put(all, "node", workload.node);
    put(all, "waypoint", workload.waypoint);
    put(all, "networkGateway", workload.network_gateway);
    if (workload.application_tunnel) all["applicationTunnel"] = to_json(*workload.application_tunnel);
    if (workload.native_tunnel) all["nativeTunnel"] = true;
    if (workload.locality != state::Locality{})
        all["locality"] = {{"region", workload.locality.region},
                           {"zone", workload.locality.zone},
                           {"subzone", workload.locality.subzone}};
    put(all, "authorizationPolicies", workload.authorization_policies, [](const auto& name) { return name; });
    if (!workload.services.empty() || as == As::configured) all["services"] = services_of(workload, as);
    return all;
}

object to_json(const state::LoadBalancer& balancer) {
    return {{"routingPreferences", array_of(balancer.preferences, [](auto scope) { return to_string(scope); })},
            {"mode", to_string(balancer.mode)},
            {"healthPolicy", to_string(balancer.health_policy)}};
}

object to_json(const state::Service& service, As as) {
    object all{{"name", service.name},
               {"namespace", service.namespace_},
               {"hostname", service.hostname},
               {"vips", array_of(service.vips, [](const auto& vip) { return vip.network + "/" + vip.ip.to_string(); })},
               {"ports", to_json(service.ports)},
               {"endpoints", as == As::held ? endpoints(service.endpoints) : object{}},
               {"subjectAltNames", array_of(service.subject_alt_names, [](const auto& name) { return name; })},
               {"canonical", service.canonical},
               {"visibility", service.visible_only_in_namespace ? "Namespace" : "Public"}};
    put(all, "cidrVips", service.cidr_vips, [](const auto& range) {
        return object{{"network", range.network}, {"cidr", range.cidr.to_string()}};
    });
    if (service.load_balancer != state::LoadBalancer{}) all["loadBalancer"] = to_json(service.load_balancer);
    if (service.ip_families != state::IpFamilies::dual) all["ipFamilies"] = to_string(service.ip_families);
    put(all, "waypoint", service.waypoint);
    put(all, "weightedWaypoints", service.weighted_waypoints, [](const auto& one) {
        return object{{"destination", to_json(one.waypoint)}, {"weight", one.weight}};
    });
    return all;
}

object to_json(const policy::StringMatch& match) {
    switch (match.form) {
        case policy::Form::exact: return {{"Exact", match.text}};
        case policy::Form::prefix: return {{"Prefix", match.text}};
        case policy::Form::suffix: return {{"Suffix", match.text}};
        case policy::Form::presence: break;
    }
    return {{"Presence", array{}}};
}

object to_json(const policy::Match& match) {
    object all;
    auto texts = [&all](const char* key, const auto& list) {
        put(all, key, list, [](const auto& one) { return to_json(one); });
    };
    auto ranges = [&all](const char* key, const auto& list) {
        put(all, key, list, [](const auto& one) { return one.to_string(); });
    };
    auto ports = [&all](const char* key, const auto& list) { put(all, key, list, [](auto one) { return one; }); };
    auto accounts = [&all](const char* key, const auto& list) {
        put(all, key, list, [](const auto& one) {
            return object{{"namespace", one.namespace_}, {"serviceAccount", one.service_account}};
        });
    };
    texts("namespaces", match.namespaces);
    texts("notNamespaces", match.not_namespaces);
    texts("principals", match.principals);
    texts("notPrincipals", match.not_principals);
    accounts("serviceAccounts", match.service_accounts);
    accounts("notServiceAccounts", match.not_service_accounts);
    ranges("sourceIps", match.source_ips);
    ranges("notSourceIps", match.not_source_ips);
    ranges("destinationIps", match.destination_ips);
    ranges("notDestinationIps", match.not_destination_ips);
    ports("destinationPorts", match.destination_ports);
    ports("notDestinationPorts", match.not_destination_ports);
    return all;
}

object to_json(const policy::Policy& policy) {
    auto clause = [](const auto& matches) {
        return array_of(matches, [](const auto& match) { return to_json(match); });
    };
    auto rule = [&clause](const auto& clauses) { return array_of(clauses, clause); };
    return {{"name", policy.name},
            {"namespace", policy.namespace_},
            {"scope", to_string(policy.scope)},
            {"action", to_string(policy.action)},
            {"rules", array_of(policy.rules, rule)},
            {"dryRun", policy.dry_run}};
}

}

object endpoints(const std::map<std::string, state::Endpoint>& endpoints) {
    object all;
    for (const auto& [uid, endpoint] : endpoints)
        all[uid] = {{"workloadUid", endpoint.workload_uid},
                    {"port", to_json(endpoint.ports)},
                    {"status", to_string(endpoint.status)}};
    return all;
}

array workloads(const state::Snapshot& mesh, As as) {
    auto sorted = mesh.workloads();
    std::ranges::sort(sorted, {}, [](const auto& one) -> const std::string& { return one->uid; });
    return array_of(sorted, [as](const auto& one) { return to_json(*one, as); });
}

array services(const state::Snapshot& mesh, As as) {
    auto sorted = mesh.services();
    std::ranges::sort(sorted, {}, [](const auto& one) { return std::tie(one->hostname, one->namespace_); });
    return array_of(sorted, [as](const auto& one) { return to_json(*one, as); });
}

array policies(const std::vector<const policy::Policy*>& policies) {
    auto sorted = policies;
    std::ranges::sort(sorted, {}, [](const auto* one) { return one->key(); });
    return array_of(sorted, [](const auto* one) { return to_json(*one); });
}

}
