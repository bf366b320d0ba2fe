// SPDX-License-Identifier: Apache-2.0
#include "capture.hpp"

#include <algorithm>

namespace culvert::explain {
namespace {

constexpr std::uint16_t dns_port = 53;

Capture past(std::string why) {
    return {false, std::move(why)};
}
Capture nobody_can_say(std::string why) {
    return {std::nullopt, std::move(why)};
}

bool holds(const state::Workload& workload, const base::IpAddress& ip) {
    return std::ranges::find(workload.ips, ip) != workload.ips.end();
}

Capture out_of_the_mesh(const PodHere& pod) {
    const std::string is = "the pod is " + pod.state;
    switch (pod.is) {
        case PodHere::Is::closed: return {true, "by this node", is + ", to join again: until then it is refused"};
        case PodHere::Is::waiting:
            return nobody_can_say(is +
                                  ": closed, if an earlier daemon or istio-cni's rules have closed it; else its "
                                  "calls pass the mesh by");
        case PodHere::Is::leaving:
        case PodHere::Is::in_the_mesh: break;
    }
    if (!pod.by_rules) return past(is);
    return {true, "by istio-cni's rules in the pod", is + ": nobody is where those rules lead"};
}

// What the programs in a pod's network namespace decide, or the rules there.
Capture capture_here(const Node& node, const PodHere& pod, const state::Workload& workload,
                     const base::SocketAddress& target) {
    const bool is_question = pod.dns && target.port == dns_port && pod.is == PodHere::Is::in_the_mesh;
    // Rules look for questions before anything else, programs do not.
    const bool by_rules = is_question && (node.by_iptables || pod.by_rules);
    if (!by_rules && holds(workload, target.ip)) return {false, "it is the pod's own address", {}, {}, true};
    if (pod.is != PodHere::Is::in_the_mesh) return out_of_the_mesh(pod);
    const bool may_bypass = !holds(workload, target.ip) && !(is_question && node.by_iptables);
    if (auto bypass = may_bypass ? pod.exclude.bypass_outbound(target) : std::nullopt)
        return past(*bypass + (pod.virtual_interfaces ? "; what comes by its virtual interfaces is taken" : ""));
    Capture taken{true, "by this node"};
    if (!node.ipv6 && !target.ip.is_v4())
        taken.refused = "IPv6 is switched off on this node: that of its pods is refused";
    else if (node.ending)
        taken.refused = "this daemon is ending: until the next one is there, new connections are refused";
    else if (is_question)
        taken.answered = pod.by_rules ? "this node's DNS server, where istio-cni has written rules for DNS"
                                      : "this node's DNS server";
    return taken;
}

}

bool is_the_nodes(const Node& node, const base::IpAddress& ip) {
    return node.ips && std::ranges::find(*node.ips, ip) != node.ips->end();
}

bool is_node_proxy(const Node& node, const state::Workload& workload) {
    if (!node.own) return false;
    if (workload.uid == node.own->uid) return true;
    const auto own = node.mesh.workload_by_uid(node.own->uid);
    return own && own->identity() == workload.identity();
}

Capture capture(const Node& node, const Party& source, const base::SocketAddress& target) {
    if (target.ip.is_loopback()) return {false, "it stays within the pod", {}, {}, true};
    if (!source.workload) {
        if (node.on_demand && !is_the_nodes(node, source.ips.front()))
            return nobody_can_say("istiod tells of addresses on demand only (XDS_ON_DEMAND), and not of the source's");
        return past("the source is nobody of the mesh");
    }
    const state::Workload& workload = *source.workload;
    if (const auto here = node.pods.find(workload.uid); here != node.pods.end())
        return capture_here(node, here->second, workload, target);
    if (holds(workload, target.ip)) return {false, "it is the pod's own address", {}, {}, true};
    if (is_node_proxy(node, workload)) return past("nothing of a node proxy's own pod is captured");
    if (workload.protocol != state::Protocol::hbone) return past("the source is not enrolled");
    if (!node.name.empty() && workload.node == node.name)
        return nobody_can_say(
            "the source is a workload of this node, and no pod of it is here: closed, if istio-cni's rules are in it");
    return {true, "by the source's own node, whose settings are not known here"};
}

}
