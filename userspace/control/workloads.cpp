// SPDX-License-Identifier: Apache-2.0
// Workloads and services as ztunnel's LOCAL_XDS_PATH file has them.
#include <limits>

#include <fmt/format.h>

#include "schema.hpp"

namespace culvert::control {

using namespace state;
using namespace yaml;

namespace {

std::optional<NetworkAddress> parse_network_address(std::string_view text) {
    std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    auto ip = base::IpAddress::parse(text.substr(slash + 1));
    if (!ip) return std::nullopt;
    return NetworkAddress{std::string{text.substr(0, slash)}, *ip};
}

std::optional<NamespacedHostname> parse_namespaced(std::string_view text) {
    std::size_t slash = text.find('/');
    if (slash == 0 || slash == std::string_view::npos || slash + 1 == text.size()) return std::nullopt;
    if (text.find('/', slash + 1) != std::string_view::npos) return std::nullopt;
    return NamespacedHostname{std::string{text.substr(0, slash)}, std::string{text.substr(slash + 1)}};
}

NamespacedHostname namespaced(const Cursor& at, std::string_view what) {
    auto parsed = parse_namespaced(at.text(what));
    if (!parsed) at.expected(what);
    return std::move(*parsed);
}

Reader vip(NetworkAddress& into) {
    constexpr std::string_view what = R"("<network>/<ip>", such as "/10.1.0.1" for the network without a name)";
    return {std::string{what}, [&into, what](const Cursor& at) {
                auto parsed = parse_network_address(at.text(what));
                if (!parsed) at.expected(what);
                into = std::move(*parsed);
            }};
}

Reader cidr_vip(NetworkCidr& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"network", text(into.network), required}, {"cidr", cidr(into.cidr), required}}, Unknown::ignored);
    });
}

Reader spiffe_id(std::string& into) {
    constexpr std::string_view what = "spiffe://<trust domain>/ns/<namespace>/sa/<service account>";
    return {std::string{what}, [&into, what](const Cursor& at) {
                into = at.text(what);
                if (!Identity::parse(into)) at.expected(what);
            }};
}

// A target port of 0 has a meaning in a service only: each endpoint resolves the named port itself.
Reader port_map(PortMap& into, std::uint32_t least_target) {
    return {"a mapping of service ports to target ports", [&into, least_target](const Cursor& at) {
                at.entries([&](const Cursor& key, const Cursor& value) {
                    auto port = static_cast<std::uint16_t>(to_number(key, 1, 65535));
                    auto target = static_cast<std::uint16_t>(to_number(value, least_target, 65535));
                    if (!into.emplace(port, target).second) key.refuse("found a second time; remove one");
                });
            }};
}
Reader service_ports(PortMap& into) {
    return port_map(into, 0);
}
Reader endpoint_ports(PortMap& into) {
    return port_map(into, 1);
}

Reader workload_services(std::map<NamespacedHostname, PortMap>& into) {
    return {R"(a mapping of "<namespace>/<hostname>" to ports)", [&into](const Cursor& at) {
                at.entries([&](const Cursor& key, const Cursor& value) {
                    NamespacedHostname service = namespaced(key, R"("<namespace>/<hostname>" of a service)");
                    endpoint_ports(into[std::move(service)]).read(value);
                });
            }};
}

Reader locality(Locality& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"region", text(into.region)}, {"zone", text(into.zone)}, {"subzone", text(into.subzone)}},
                  Unknown::ignored);
    });
}

// What is read whole, so that its mistakes are found, and then refused.
Reader not_yet(std::string_view what, Reader reader) {
    auto read = [what, inner = std::move(reader.read)](const Cursor& at) {
        inner(at);
        at.refuse(fmt::format("{} not supported yet; remove this key", what));
    };
    return or_null({std::move(reader.expected), std::move(read)});
}

Reader gateway_address() {
    return section([](const Cursor& at) {
        std::uint16_t mtls_port = 0;
        Reader destination{"<network>/<ip> or <namespace>/<hostname>", [](const Cursor& to) {
                               constexpr std::string_view what = R"("<network>/<ip>" or "<namespace>/<hostname>")";
                               const std::string& address = to.text(what);
                               if (!parse_network_address(address) && !parse_namespaced(address)) to.expected(what);
                           }};
        at.fields({{"destination", destination, required}, {"hboneMtlsPort", port(mtls_port), required}});
    });
}

Reader application_tunnel() {
    return section([](const Cursor& at) {
        std::uint16_t tunnel_port = 0;
        Reader protocol{"NONE or PROXY", [](const Cursor& to) {
                            const std::string& word = to.text("NONE or PROXY");
                            if (word != "NONE" && word != "PROXY") to.expected("NONE or PROXY");
                        }};
        at.fields({{"protocol", protocol, required}, {"port", or_null(port(tunnel_port))}});
    });
}

Reader weighted_waypoints() {
    return {"a list", [](const Cursor& at) {
                bool any = false;
                at.items([&](const Cursor& item) {
                    std::uint32_t weight = 0;
                    item.fields({{"destination", gateway_address(), required},
                                 {"weight", number(weight, 0, std::numeric_limits<std::uint32_t>::max()), required}});
                    any = true;
                });
                if (any) at.refuse("waypoints are not supported yet; remove this key");
            }};
}

Reader policy_names(std::vector<std::string>& into) {
    return {"a list", [&into](const Cursor& at) {
                at.items([&](const Cursor& item) {
                    into.push_back(namespaced(item, R"("<namespace>/<name>" of a policy)").to_string());
                });
            }};
}

Reader scope(Scope& into) {
    return choice(into, {Scope::region, Scope::zone, Scope::subzone, Scope::node, Scope::cluster, Scope::network});
}

Reader load_balancer(LoadBalancer& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"routingPreferences", list(into.preferences, scope), required},
                   {"mode",
                    choice(into.mode, {BalanceMode::standard, BalanceMode::strict, BalanceMode::failover,
                                       BalanceMode::passthrough}),
                    required},
                   {"healthPolicy", choice(into.health_policy, {HealthPolicy::only_healthy, HealthPolicy::allow_all}),
                    required}});
    });
}

Reader endpoint(Endpoint& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"workloadUid", name(into.workload_uid, "the uid of a workload"), required},
                   {"port", endpoint_ports(into.ports), required},
                   {"status", choice(into.status, {Health::healthy, Health::unhealthy})}});
    });
}

Reader endpoints(std::map<std::string, Endpoint>& into) {
    return {"a mapping of workload uids to endpoints", [&into](const Cursor& at) {
                at.entries([&](const Cursor& key, const Cursor& value) {
                    Endpoint& added = into[key.text()];
                    endpoint(added).read(value);
                    if (added.workload_uid != key.text())
                        value.at("workloadUid").expected("the key of this endpoint, " + yaml::quoted(key.text()));
                });
            }};
}

Reader visibility(bool& only_in_namespace) {
    constexpr std::string_view what = "Public or Namespace";
    return {std::string{what}, [&only_in_namespace, what](const Cursor& at) {
                const std::string& word = at.text(what);
                if (word != "Public" && word != "Namespace") at.expected(what);
                only_in_namespace = word == "Namespace";
            }};
}

void must_be_reachable(const Cursor& at, const Workload& workload) {
    if (workload.ips.empty() && !workload.hostname.empty())
        at.at("hostname").refuse("a workload known only by its host name is not supported yet; give its workloadIps");
}

}

Reader ip_address(base::IpAddress& into) {
    return {"an IP address", [&into](const Cursor& at) {
                auto parsed = base::IpAddress::parse(at.text("an IP address"));
                if (!parsed) at.expected("an IP address", "without port or prefix length");
                into = *parsed;
            }};
}

Reader cidr(Cidr& into) {
    constexpr std::string_view what = R"(an address range such as "10.0.0.0/8" or "fd00::/64")";
    return {std::string{what}, [&into, what](const Cursor& at) {
                auto parsed = Cidr::parse(at.text(what));
                if (!parsed) at.expected(what);
                into = *parsed;
            }};
}

Reader workload(Workload& w) {
    return section([&w](const Cursor& at) {
        at.fields({{"uid", name(w.uid, "a uid that no other workload has"), required},
                   {"name", text(w.name)},
                   {"namespace", text(w.namespace_), required},
                   {"trustDomain", text(w.trust_domain)},
                   {"serviceAccount", text(w.service_account)},
                   {"network", text(w.network)},
                   {"workloadName", text(w.workload_name)},
                   {"workloadType", text(w.workload_type)},
                   {"canonicalName", text(w.canonical_name)},
                   {"canonicalRevision", text(w.canonical_revision)},
                   {"hostname", text(w.hostname)},
                   {"node", text(w.node)},
                   {"clusterId", text(w.cluster_id)},
                   {"workloadIps", list(w.ips, ip_address), required},
                   {"protocol", choice(w.protocol, {Protocol::tcp, Protocol::hbone})},
                   {"networkMode", choice(w.network_mode, {NetworkMode::standard, NetworkMode::host_network})},
                   {"status", choice(w.status, {Health::healthy, Health::unhealthy})},
                   {"locality", locality(w.locality)},
                   {"capacity", number(w.capacity, 0, std::numeric_limits<std::uint32_t>::max())},
                   {"services", workload_services(w.services)},
                   {"authorizationPolicies", policy_names(w.authorization_policies)},
                   {"nativeTunnel", checked(flag)},  // in ztunnel: which certificates are fetched early, and no more
                   {"waypoint", not_yet("waypoints are", gateway_address())},
                   {"networkGateway", not_yet("gateways to other networks are", gateway_address())},
                   {"applicationTunnel", not_yet("tunnels to applications are", application_tunnel())}});
        must_be_reachable(at, w);
    });
}

Reader service(Service& s) {
    return section([&s](const Cursor& at) {
        at.fields(
            {{"name", name(s.name), required},
             {"namespace", name(s.namespace_), required},
             {"hostname", name(s.hostname, "a host name"), required},
             {"vips", list(s.vips, vip), required},
             {"cidrVips", list(s.cidr_vips, cidr_vip)},
             {"ports", service_ports(s.ports), required},
             {"endpoints", endpoints(s.endpoints)},
             {"subjectAltNames", list(s.subject_alt_names, spiffe_id)},
             {"loadBalancer", or_null(load_balancer(s.load_balancer))},
             {"ipFamilies", or_null(choice(s.ip_families, {IpFamilies::dual, IpFamilies::ipv4, IpFamilies::ipv6}))},
             {"canonical", flag(s.canonical)},
             {"visibility", visibility(s.visible_only_in_namespace)},
             {"waypoint", not_yet("waypoints are", gateway_address())},
             {"weightedWaypoints", weighted_waypoints()}});
    });
}

}
