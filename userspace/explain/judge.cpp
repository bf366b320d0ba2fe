// SPDX-License-Identifier: Apache-2.0
#include "judge.hpp"

#include <boost/json.hpp>

#include <culvert/policy/words.hpp>

#include "capture.hpp"

namespace culvert::explain {
namespace {

namespace json = boost::json;

constexpr std::uint16_t tunnel_port = 15008;
constexpr const char* recursive = "attempted recursive call to ourselves";

Judgement nobody(std::string why) {
    return {"nobody", true, std::move(why)};
}
Judgement refused(std::string why) {
    return {"this node", false, std::move(why)};
}
Judgement unknown(std::string why) {
    return {"nobody", std::nullopt, std::move(why)};
}

bool would_allow(const json::array& dry_runs) {
    for (const auto& dry : dry_runs)
        if (dry.at("action") == "Allow") return true;
    return false;
}

json::array dry_runs(const policy::Compiled& compiled, const policy::Connection& connection) {
    json::array all;
    compiled.for_each_dry_run(connection, [&](const policy::Named& named) {
        all.push_back({{"policy", named.key}, {"action", std::string{to_string(named.policy.action)}}});
    });
    return all;
}

// Names that stand for nothing: unknownPolicy is allow, or they would be in the set.
json::array unknown_policies(const Node& node, const state::Workload& workload) {
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
    details["unknown_policies"] = unknown_policies(node, workload);
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
    Judgement said{"this node", decision.allowed(), in_words(decision, compiled, connection), std::move(details)};
    if (decision.may_change()) said.allowed.reset();
    if (compiled && compiled->only_rehearses_allows() && !would_allow(said.details["dry_runs"].as_array()))
        said.notes.emplace_back("dry run: allow policies exist, and none of them would allow it");
    return said;
}

// Tunnels to a node proxy lead to its metrics, with ztunnel's to every port.
Judgement judge_node_proxy(const Node& node, const Caller& caller, const state::Route& route) {
    const state::Workload& workload = *route.destination;
    const bool own = workload.uid == node.own->uid;
    if (!caller.identity && route.target.port == tunnel_port)
        return refused("tunnels end there: it takes no plaintext");
    if (!caller.identity) return nobody("nothing of a node proxy's own pod is captured");
    if (own && !node.own->closed.empty()) return refused("nobody takes tunnels to it: " + node.own->closed);
    if (route.target.port != node.own->port) {
        const auto only = "tunnels to a node proxy of ours lead to port " + std::to_string(node.own->port) + " alone";
        return own ? refused(only + ": " + recursive) : unknown(only + ", to another's to every port");
    }
    auto judgement = ask_policies(node, workload, {*caller.ip, route.target, caller.identity});
    if (!own) judgement.by = "its own node";
    return judgement;
}

Judgement judge_elsewhere(const Node& node, const Caller& caller, const state::Route& route) {
    const state::Workload& workload = *route.destination;
    if (workload.protocol != state::Protocol::hbone) return nobody("it is not enrolled, so no proxy stands before it");
    if (!node.name.empty() && workload.node == node.name) {
        constexpr const char* nowhere = "it is a workload of this node, and no pod of it is here";
        if (caller.identity) return refused(std::string{"nobody takes tunnels to it: "} + nowhere);
        return unknown(std::string{nowhere} + ": closed, if istio-cni's rules are in it");
    }
    auto judgement = state::is_mesh_port(route.target.port)
                         ? refused(std::string{"it is a port of the mesh's own: "} + recursive)
                         : ask_policies(node, workload, {*caller.ip, route.target, caller.identity});
    judgement.by = "its own node";
    return judgement;
}

Judgement judge_out_of_the_mesh(const Caller& caller, const PodHere& pod) {
    const std::string is = "its pod is " + pod.state;
    if (caller.identity) return refused("nobody takes tunnels to it: " + is);
    switch (pod.is) {
        case PodHere::Is::closed: return refused(is + ", to join again: until then it is closed");
        case PodHere::Is::waiting:
            return unknown(is + ": closed, if an earlier daemon or istio-cni's rules have closed it");
        case PodHere::Is::leaving:
        case PodHere::Is::in_the_mesh: break;
    }
    if (pod.by_rules) return refused(is + ": nobody is where istio-cni's rules lead");
    return nobody(is + ", so no proxy stands before it now");
}

// How plaintext comes, which nobody but the pod's own rules may know.
void note_plaintext(const Node& node, const Caller& caller, const PodHere& pod, std::uint16_t port,
                    json::array& notes) {
    if (auto in_vain = pod.by_rules ? pod.exclude.bypass_inbound(port) : std::nullopt)
        notes.emplace_back("inbound port " + std::to_string(port) +
                           " is excluded in vain: istio-cni's rules in the pod bring it to the proxy");
    else if (pod.by_rules)
        notes.emplace_back("istio-cni's rules in the pod bring it to the proxy; what they let past meets no policy");
    if (!caller.known && !node.ips)
        notes.emplace_back("of a process of this node itself, as the kubelet's probes are, no policy is asked");
}

Judgement judge_here(const Node& node, const Caller& caller, const state::Route& route, const PodHere& pod) {
    const std::uint16_t port = route.target.port;
    if (!caller.identity && is_the_nodes(node, *caller.ip))
        return nobody(std::string{"a process of this node calls, as the kubelet's probes do"} +
                      (pod.by_rules ? ", and istio-cni's rules let those through" : ""));
    if (pod.is != PodHere::Is::in_the_mesh) return judge_out_of_the_mesh(caller, pod);
    if (!caller.identity && !pod.by_rules)
        if (auto bypass = pod.exclude.bypass_inbound(port)) return nobody(*bypass);
    if (!node.ipv6 && !route.next_hop.ip.is_v4())
        return refused("IPv6 is switched off on this node: that of its pods is refused");
    if (node.ending) return refused("this daemon is ending: until the next one is there, new connections are refused");
    if (!caller.identity && port == tunnel_port) return refused("tunnels end there: it takes no plaintext");
    if (state::is_mesh_port(port)) return refused(std::string{"it is a port of the mesh's own: "} + recursive);
    auto judgement = ask_policies(node, *route.destination, {*caller.ip, route.target, caller.identity});
    if (!caller.identity) note_plaintext(node, caller, pod, port, judgement.notes);
    if (caller.identity && !pod.certified)
        judgement.notes.emplace_back("the destination has no certificate yet: a tunnel waits ten seconds for it");
    return judgement;
}

}

Judgement judge(const Node& node, const Caller& caller, const state::Route& route) {
    if (caller.within) return nobody("no proxy stands between a pod and itself");
    if (!caller.ip) return refused("the source has no address of that IP version, so nobody can be called from it");
    if (!route.destination) return nobody("it is nobody of the mesh");
    if (const auto here = node.pods.find(route.destination->uid); here != node.pods.end())
        return judge_here(node, caller, route, here->second);
    if (is_node_proxy(node, *route.destination)) return judge_node_proxy(node, caller, route);
    return judge_elsewhere(node, caller, route);
}

}
