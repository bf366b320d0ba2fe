// SPDX-License-Identifier: Apache-2.0
#include <culvert/explain/explain.hpp>

#include <boost/json.hpp>

#include <fmt/format.h>

#include "endpoint.hpp"
#include "ways.hpp"

namespace culvert::explain {
namespace {

namespace json = boost::json;

bool is_called(const PodHere& pod, const std::string& uid, const std::string& text) {
    return uid == text || pod.name == text || pod.name.ends_with("/" + text);
}

template <class Find>
base::Result<Party> find_end(const Node& node, const std::string& text, Find find) {
    auto found = find(node.mesh, node.network, text);
    if (found && found->workload && found->workload->network != node.network)
        return base::problem(
            fmt::format("{} is in network \"{}\", and this node in \"{}\": from one to the other leads no "
                        "way yet, gateways are not supported",
                        text, found->workload->network, node.network));
    if (found) return found;
    for (const auto& [uid, pod] : node.pods)
        if (is_called(pod, uid, text) && !node.mesh.workload_by_uid(uid))
            return base::problem(pod.name +
                                 " is a pod of this node, and the mesh does not know its workload: its "
                                 "connections wait five seconds for that, and fail");
    if (!node.on_demand) return found;
    return base::problem(found.error().to_string() + "; istiod tells of addresses on demand only (XDS_ON_DEMAND)");
}

// Who dials from a pod has its address of the next hop's family, whatever the app called.
std::optional<base::IpAddress> seen_as(const Party& source, const base::IpAddress& ip, const base::IpAddress& hop) {
    if (ip.is_v4() == hop.is_v4()) return ip;
    for (const auto& other : source.workload->ips)
        if (other.is_v4() == hop.is_v4()) return other;
    return std::nullopt;
}

// Several things may have an end of a call as theirs.
struct Ends {
    const Party& source;
    const Party& destination;
    const Addresses& addresses;
};

json::object tell_of(const Node& node, const Ends& ends, const Capture& capture, const state::Route& route) {
    const auto identity = ends.source.workload ? ends.source.workload->identity() : state::Identity{};
    const bool taken = capture.taken.value_or(false), proved = taken && route.via == state::Via::hbone;
    const Caller caller{
        .ip = taken ? seen_as(ends.source, ends.addresses.source, route.next_hop.ip) : ends.addresses.source,
        .identity = proved ? &identity : nullptr,
        .known = ends.source.workload && ends.source.workload->network_mode == state::NetworkMode::standard,
        .within = capture.within,
    };
    auto told = explain_endpoint(node, caller, route);
    const bool to_a_node =
        ends.destination.workload && ends.destination.workload->network_mode == state::NetworkMode::host_network;
    if (!route.destination && !capture.within && to_a_node)
        told["why"] = "it has its node's address, and calls to those pass the mesh by";
    const auto here = ends.source.workload ? node.pods.find(ends.source.workload->uid) : node.pods.end();
    if (proved && here != node.pods.end() && !here->second.certified)
        told["notes"].as_array().emplace_back("the source has no certificate yet: a call waits ten seconds for it");
    return told;
}

// One that refuses is enough for a no, one that nobody here knows for no answer.
json::value allowed_by_all(const json::array& endpoints) {
    bool all_said = true;
    for (const auto& endpoint : endpoints) {
        const auto& allowed = endpoint.at("allowed");
        if (allowed.is_bool() && !allowed.get_bool()) return json::value(false);
        all_said = all_said && allowed.is_bool();
    }
    return all_said ? json::value(true) : json::value{};
}

json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value{} : json::value(text);
}

// What it proves to be where it is asked; nothing of one that no proxy stands before.
json::value identity_of(const Node& node, const state::Workload* workload) {
    if (!workload) return {};
    const bool in_the_mesh = workload->protocol == state::Protocol::hbone || node.pods.contains(workload->uid);
    return in_the_mesh ? json::value(workload->identity().to_string()) : json::value{};
}

json::value state_here(const Node& node, const state::Workload* workload) {
    if (!workload) return {};
    if (const auto here = node.pods.find(workload->uid); here != node.pods.end())
        return json::value(here->second.state);
    return node.own && node.own->uid == workload->uid ? json::value("the daemon's own pod") : json::value{};
}

json::value party(const Node& node, const std::string& asked, const Party& party, const std::string& address) {
    json::object told{{"asked", asked}, {"address", address}};
    const state::Workload* workload = party.workload.get();
    told["pod"] = workload ? json::value(pod_name(*workload)) : json::value{};
    told["uid"] = workload ? json::value(workload->uid) : json::value{};
    told["identity"] = identity_of(node, workload);
    told["state"] = state_here(node, workload);
    told["here"] = told["state"].is_string();
    told["service"] = party.service ? json::value(party.service->hostname) : json::value{};
    return told;
}

}

base::Result<json::value> explain(const Node& node, const Question& question) {
    auto source = find_end(node, question.source, find_source);
    if (!source) return source.error();
    auto destination = find_end(node, question.destination, find_destination);
    if (!destination) return destination.error();
    auto addresses = common_family(*source, *destination, node.ipv6);
    if (!addresses)
        return base::problem(question.source + " and " + question.destination +
                             " have no IP version in common: they cannot reach each other");
    const base::SocketAddress target{addresses->destination, question.port};
    if (auto service = node.mesh.service_by_vip(node.network, target.ip, caller_of(node, *source).namespace_))
        destination->service = std::move(service);

    const Capture taken = capture(node, *source, target);
    const Ways ways = find_ways(node, *source, taken, target);
    json::array endpoints;
    if (ways.routes)
        for (const state::Route& route : *ways.routes)
            endpoints.push_back(tell_of(node, {*source, *destination, *addresses}, taken, route));
    json::value allowed = !ways.routes ? json::value(false) : allowed_by_all(endpoints);
    if (!taken.taken || !ways.unknown.empty()) allowed = nullptr;
    return json::value{
        {"source", party(node, question.source, *source, addresses->source.to_string())},
        {"destination", party(node, question.destination, *destination, target.to_string())},
        {"captured", taken.taken ? json::value(*taken.taken) : json::value{}},
        {"why", taken.why},
        {"error", ways.routes ? json::value{} : json::value(ways.routes.error().to_string())},
        {"unknown", text_or_null(ways.unknown)},
        {"answered", text_or_null(taken.answered)},
        {"endpoints", std::move(endpoints)},
        {"allowed", std::move(allowed)},
    };
}

}
