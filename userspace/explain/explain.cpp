// SPDX-License-Identifier: Apache-2.0
#include <culvert/explain/explain.hpp>

#include <boost/json.hpp>

#include <culvert/explain/names.hpp>
#include <culvert/state/route.hpp>

#include "endpoint.hpp"

namespace culvert::explain {
namespace {

namespace json = boost::json;

struct Capture {
    bool taken;
    std::string why;
};

bool holds(const state::Workload& workload, const base::IpAddress& ip) {
    for (const auto& own : workload.ips)
        if (own == ip) return true;
    return false;
}

// What the programs in the source's network namespace decide.
Capture capture(const Node& node, const Party& source, const base::SocketAddress& target) {
    if (!source.workload) return {false, "the source is nobody of the mesh"};
    const state::Workload& workload = *source.workload;
    if (target.ip.is_loopback()) return {false, "it stays within the pod"};
    if (holds(workload, target.ip)) return {false, "it is the pod's own address"};
    const auto here = node.pods.find(workload.uid);
    if (here == node.pods.end() && workload.protocol != state::Protocol::hbone)
        return {false, "the source is not enrolled"};
    if (here == node.pods.end()) return {true, "by the source's own node, whose exclusions are not known here"};
    if (!here->second.in_the_mesh) return {false, "the pod is " + here->second.state};
    if (auto bypass = here->second.exclude.bypass_outbound(target)) return {false, *bypass};
    return {true, "by this node"};
}

// As the kernel routes it, without us.
base::Result<std::vector<state::Route>> routes_outside(const Node& node, const Party& source,
                                                       const base::SocketAddress& target) {
    const std::string of = source.workload ? source.workload->namespace_ : "";
    if (node.mesh.service_by_vip(node.network, target.ip, of))
        return base::problem(
            "a service's address, and the mesh does not see the call: kube-proxy, or what there is in "
            "its place, chooses who gets it");
    state::Route route;
    route.next_hop = route.target = target;
    route.via = state::Via::plain;
    route.destination = node.mesh.workload_by_ip(node.network, target.ip);
    return std::vector{std::move(route)};
}

json::value party(const Node& node, const std::string& asked, const Party& party, const std::string& address) {
    json::object told{{"asked", asked}, {"address", address}};
    const state::Workload* workload = party.workload.get();
    const auto here = workload ? node.pods.find(workload->uid) : node.pods.end();
    told["pod"] = workload ? json::value(pod_name(*workload)) : json::value{};
    told["uid"] = workload ? json::value(workload->uid) : json::value{};
    told["identity"] = workload ? json::value(workload->identity().to_string()) : json::value{};
    told["here"] = here != node.pods.end();
    told["state"] = here != node.pods.end() ? json::value(here->second.state) : json::value{};
    told["service"] = party.service ? json::value(party.service->hostname) : json::value{};
    return told;
}

}

base::Result<json::value> explain(const Node& node, const Question& question) {
    auto source = find_source(node.mesh, node.network, question.source);
    if (!source) return source.error();
    auto destination = find_destination(node.mesh, node.network, question.destination);
    if (!destination) return destination.error();
    auto addresses = common_family(*source, *destination);
    if (!addresses)
        return base::problem(question.source + " and " + question.destination +
                             " have no IP version in common: they cannot reach each other");
    const base::SocketAddress target{addresses->destination, question.port};
    const std::string client_namespace = source->workload ? source->workload->namespace_ : "";
    if (auto service = node.mesh.service_by_vip(node.network, target.ip, client_namespace))
        destination->service = std::move(service);

    const Capture taken = capture(node, *source, target);
    auto routes = taken.taken ? state::possible_routes(node.mesh, *source->workload, target)
                              : routes_outside(node, *source, target);
    const auto identity = source->workload ? source->workload->identity() : state::Identity{};
    json::array endpoints;
    bool all_allow = true;
    if (routes) {
        for (const state::Route& route : *routes) {
            const bool proved = taken.taken && route.via == state::Via::hbone;
            endpoints.push_back(explain_endpoint(node, {addresses->source, proved ? &identity : nullptr}, route));
            all_allow = all_allow && endpoints.back().at("allowed").as_bool();
        }
    }
    json::value allowed(all_allow);
    if (!routes) allowed = taken.taken ? json::value(false) : json::value{};
    return json::value{
        {"source", party(node, question.source, *source, addresses->source.to_string())},
        {"destination", party(node, question.destination, *destination, target.to_string())},
        {"captured", taken.taken},
        {"why", taken.why},
        {"error", routes ? json::value{} : json::value(routes.error().to_string())},
        {"endpoints", std::move(endpoints)},
        {"allowed", std::move(allowed)},
    };
}

}
