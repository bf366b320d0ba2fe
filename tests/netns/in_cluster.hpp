// SPDX-License-Identifier: Apache-2.0
// What cases about a cluster say to its istiod and to a world under one.
#pragma once
#include <string>

#include <fmt/format.h>

#include "policies.hpp"
#include "world.hpp"

namespace culvert::test {

inline World& cluster() {
    return World::shared("in a cluster", {}, true);
}

// An Authorization of namespace ns, one rule with one match; `match` is JSON's inside of braces.
inline std::string authorization(const std::string& name, const std::string& scope, const std::string& action,
                                 const std::string& match) {
    return fmt::format(R"({{"name": "{}", "namespace": "ns", "scope": "{}", "action": "{}", )"
                       R"("rules": [{{"clauses": [{{"matches": [{{{}}}]}}]}}]}})",
                       name, scope, action, match);
}

inline const std::string from_client = R"("principals": [{"exact": "cluster.local/ns/ns/sa/client"}])";
inline const std::string no_client = authorization("no-client", "NAMESPACE", "DENY", from_client);

// A node's own address, and the workload that its node proxy is, as one that speaks HBONE.
inline SocketAddress on_node(int node, Family family, std::uint16_t port) {
    const std::string number = std::to_string(node);
    return {*IpAddress::parse(family == Family::v4 ? "10.71." + number + ".1" : "fd71:0:0:" + number + "::1"), port};
}
inline void tell_of_node_proxy(World& world, int node) {
    world.cluster->istiod.order(fmt::format(
        R"({{"do": "put", "addresses": [{{"workload": {{"uid": "Kubernetes//Pod/istio-system/ztunnel-{0}", )"
        R"("name": "ztunnel-{0}", "namespace": "istio-system", "service_account": "ztunnel", "workload_name": "ztunnel", )"
        R"("addresses": ["{1}", "{2}"], "tunnel_protocol": "HBONE", "node": "{3}", "cluster_id": "Kubernetes"}}}}]}})",
        node, on_node(node, Family::v4, 0).ip.to_string(), on_node(node, Family::v6, 0).ip.to_string(),
        world.lab.node_name(node)));
}

inline void put(World& world, const std::string& policy) {
    world.cluster->istiod.order(R"({"do": "put", "authorizations": [)" + policy + "]}");
}
inline void take_away(World& world, const std::string& name) {
    world.cluster->istiod.order(R"({"do": "remove", "names": [")" + name + R"("]})");
}
// The orders without more to them: away, back, ...
inline void order(World& world, const std::string& what, const std::string& more = {}) {
    world.cluster->istiod.order(R"({"do": ")" + what + "\"" + (more.empty() ? "" : ", " + more) + "}");
}

// culvert_xds_*: for how long nobody would have told the node of a change, and whether somebody would.
inline double age(const Node& node) {
    return node.metrics()["culvert_xds_state_age_seconds"];
}
inline bool is_connected(const Node& node) {
    return node.metrics()["culvert_xds_connected"] == 1;
}

// Whatever was wrong, it is mended: the policy that comes now is in force, and the one that goes is not.
inline void check_follows(World& world) {
    put(world, no_client);
    check_answer(world, world.client, world.far, 8080, denied + "ns/no-client");
    take_away(world, "ns/no-client");
    check_answer(world, world.client, world.far, 8080, "yes");
}

}
