// SPDX-License-Identifier: Apache-2.0
#include "endpoint.hpp"

#include <boost/json.hpp>

#include <culvert/policy/words.hpp>

namespace culvert::explain {
namespace {

namespace json = boost::json;

struct Judgement {
    std::string by;  // "this node", "its own node", "nobody"
    bool allowed = true;
    std::string why;
    json::object details = {};
};

Judgement nobody(std::string why) {
    return {"nobody", true, std::move(why)};
}

json::array dry_runs(const policy::Compiled& compiled, const policy::Connection& connection) {
    json::array all;
    compiled.for_each_dry_run(connection, [&](const policy::Named& named) {
        all.push_back({{"policy", named.key}, {"action", std::string{to_string(named.policy.action)}}});
    });
    return all;
}

// Names that stand for nothing: unknownPolicy is allow, or they would be in the set.
json::array unknown(const Node& node, const state::Workload& workload) {
    json::array all;
    for (const auto& name : workload.authorization_policies) {
        bool known = false;
        for (const auto& named : node.policies.policies()) known = known || named->key == name;
        if (!known) all.emplace_back(name);
    }
    return all;
}

Judgement ask_policies(const Node& node, const state::Workload& workload, const policy::Connection& connection) {
    const policy::Compiled* compiled = node.policies.of(workload.uid);
    policy::Decision decision;
    json::object details;
    details["unknown_policies"] = unknown(node, workload);
    if (compiled) {
        decision = policy::decide(*compiled, connection);
        details["dry_runs"] = dry_runs(*compiled, connection);
    }
    if (decision.by) {
        details["policy"] = decision.by->key;
        if (auto rule = policy::matching_rule(decision.by->policy, connection)) {
            details["rule"] = *rule;
            details["rule_text"] = policy::to_string(decision.by->policy.rules[*rule]);
        }
    }
    if (!decision.allowed()) details["error"] = decision.refusal();
    return {"this node", decision.allowed(), in_words(decision, compiled, connection), std::move(details)};
}

Judgement judge(const Node& node, const Caller& caller, const state::Route& route) {
    if (!route.destination) return nobody("it is nobody of the mesh");
    const state::Workload& workload = *route.destination;
    const auto here = node.pods.find(workload.uid);
    if (here == node.pods.end() && workload.protocol != state::Protocol::hbone)
        return nobody("it is not enrolled, so no proxy stands before it");
    if (here != node.pods.end() && !here->second.in_the_mesh)
        return nobody("its pod is " + here->second.state + ", so no proxy stands before it now");
    if (here != node.pods.end() && !caller.identity)
        if (auto bypass = here->second.exclude.bypass_inbound(route.target.port)) return nobody(*bypass);
    if (state::is_mesh_port(route.target.port))
        return {"this node", false, "it is a port of the mesh's own: attempted recursive call to ourselves"};
    auto judgement = ask_policies(node, workload, {caller.ip, route.target, caller.identity});
    if (here == node.pods.end()) judgement.by = "its own node";
    return judgement;
}

json::array texts(const std::vector<std::string>& all) {
    json::array list;
    for (const auto& text : all) list.emplace_back(text);
    return list;
}

}

std::string pod_name(const state::Workload& workload) {
    return workload.namespace_ + "/" + workload.name;
}

json::value explain_endpoint(const Node& node, const Caller& caller, const state::Route& route) {
    const bool tunnelled = route.via == state::Via::hbone;
    Judgement judgement = judge(node, caller, route);
    json::object told = std::move(judgement.details);
    const state::Workload* workload = route.destination.get();
    told["pod"] = workload ? json::value(pod_name(*workload)) : json::value{};
    told["node"] = workload && !workload->node.empty() ? json::value(workload->node) : json::value{};
    told["here"] = workload && node.pods.contains(workload->uid);
    told["address"] = route.target.to_string();
    told["path"] = tunnelled ? "HBONE" : "plaintext";
    told["next_hop"] = route.next_hop.to_string();
    told["must_be"] = texts(route.accepted_identities);
    told["decided_by"] = judgement.by;
    told["allowed"] = judgement.allowed;
    told["why"] = judgement.why;
    return told;
}

}
