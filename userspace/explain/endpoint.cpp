// SPDX-License-Identifier: Apache-2.0
#include "endpoint.hpp"

#include <boost/json.hpp>

namespace culvert::explain {
namespace {

namespace json = boost::json;

json::array texts(const std::vector<std::string>& all) {
    json::array list;
    for (const auto& text : all) list.emplace_back(text);
    return list;
}

}

std::string pod_name(const state::Workload& workload) {
    return workload.namespace_ + "/" + workload.name;
}

json::object explain_endpoint(const Node& node, const Caller& caller, const state::Route& route) {
    const bool tunnelled = route.via == state::Via::hbone;
    Judgement judgement = judge(node, caller, route);
    json::object told = std::move(judgement.details);
    const state::Workload* workload = route.destination.get();
    told["pod"] = workload ? json::value(pod_name(*workload)) : json::value{};
    told["node"] = workload && !workload->node.empty() ? json::value(workload->node) : json::value{};
    told["here"] = workload && (node.pods.contains(workload->uid) || (node.own && node.own->uid == workload->uid));
    told["address"] = route.target.to_string();
    told["path"] = tunnelled ? "HBONE" : "plaintext";
    told["next_hop"] = route.next_hop.to_string();
    told["must_be"] = texts(route.accepted_identities);
    told["decided_by"] = judgement.by;
    told["allowed"] = judgement.allowed ? json::value(*judgement.allowed) : json::value{};
    told["why"] = judgement.why;
    told["notes"] = std::move(judgement.notes);
    return told;
}

}
