// SPDX-License-Identifier: Apache-2.0
#include "ways.hpp"

#include <fmt/format.h>

namespace culvert::explain {
namespace {

constexpr const char* others_choose = "kube-proxy, or what there is in its place, chooses who gets it";

// Nobody has told of the address, which may mean that nobody has asked.
std::string not_told(const Node& node, const Party& source, const base::IpAddress& ip) {
    const bool asks = source.workload && node.pods.contains(source.workload->uid);
    return "istiod has not told who is at " + node.network + "/" + ip.to_string() + " (XDS_ON_DEMAND)" +
           (asks ? ": a call asks, waits for the answer five seconds at most, and fails without" : "");
}

// As the kernel routes it, without us.
Ways ways_outside(const Node& node, const Party& source, const base::SocketAddress& target) {
    state::Route route;
    route.next_hop = route.target = target;
    route.via = state::Via::plain;
    route.destination = node.mesh.workload_by_ip(node.network, target.ip);
    const state::Workload caller = caller_of(node, source);
    if (!route.destination && node.mesh.service_by_vip(node.network, target.ip, caller.namespace_))
        return {.unknown = std::string{"a service's address, and the mesh does not see the call: "} + others_choose};
    return {.routes = std::vector{std::move(route)}};
}

// Endpoints that no call of this network is balanced to.
std::string elsewhere(const Node& node, const state::Workload& source, const base::SocketAddress& target) {
    const auto service = node.mesh.service_by_vip(source.network, target.ip, source.namespace_);
    if (!service) return {};
    std::size_t count = 0;
    for (const auto& backend : node.mesh.backends(*service)) count += backend.workload->network != source.network;
    if (count == 0) return {};
    return fmt::format(" ({} of its endpoints {} in another network, and gateways are not supported yet)", count,
                       count == 1 ? "is" : "are");
}

Ways ways_inside(const Node& node, const state::Workload& source, const base::SocketAddress& target) {
    auto routes = state::possible_routes(node.mesh, source, target);
    if (!routes) {
        const std::string why = routes.error().to_string();
        return {base::problem(why.starts_with("no healthy") ? why + elsewhere(node, source, target) : why)};
    }
    const bool passed = routes->size() == 1 && routes->front().via == state::Via::passthrough;
    if (passed && node.mesh.service_by_vip(source.network, target.ip, source.namespace_))
        return {.unknown = std::string{"in plaintext to the service's own address, as its mode is PASSTHROUGH: "} +
                           others_choose};
    return {std::move(routes)};
}

}

state::Workload caller_of(const Node& node, const Party& source) {
    if (source.workload) return *source.workload;
    state::Workload stranger;
    stranger.network = node.network;
    return stranger;
}

Ways find_ways(const Node& node, const Party& source, const Capture& capture, const base::SocketAddress& target) {
    if (!capture.refused.empty()) return {base::problem(capture.refused)};
    if (!capture.taken || !capture.answered.empty()) return {};
    const bool may_be_unknown = node.on_demand && !capture.within;
    if (may_be_unknown && !state::is_told_of(node.mesh, caller_of(node, source), target.ip))
        return {.unknown = not_told(node, source, target.ip)};
    return *capture.taken ? ways_inside(node, *source.workload, target) : ways_outside(node, source, target);
}

}
