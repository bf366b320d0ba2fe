// SPDX-License-Identifier: Apache-2.0
#include "tell_explanation.hpp"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <set>

#include <culvert/base/netns.hpp>
#include <culvert/explain/explain.hpp>

namespace culvert::node {
namespace {

// Of the netns that probes come from, if we can go there.
std::optional<std::vector<base::IpAddress>> addresses_of_node(const std::string& path) {
    if (path == "initial") return std::nullopt;
    auto netns = base::open_netns(path.empty() ? "/proc/thread-self/ns/net" : path);
    if (!netns) return std::nullopt;
    auto found = base::in_netns(netns->get(), []() -> base::Result<std::vector<base::IpAddress>> {
        ifaddrs* list = nullptr;
        if (::getifaddrs(&list) != 0) return base::errno_while("list the node's addresses");
        std::vector<base::IpAddress> all;
        for (const ifaddrs* one = list; one; one = one->ifa_next) {
            const int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
            if (family != AF_INET && family != AF_INET6) continue;
            sockaddr_storage raw{};
            std::memcpy(&raw, one->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
            all.push_back(base::SocketAddress::from(raw).ip);
        }
        ::freeifaddrs(list);
        return all;
    });
    if (!found) return std::nullopt;
    return std::move(*found);
}

explain::PodHere::Is is(const Pods::View& view) {
    using enum explain::PodHere::Is;
    if (view.state == "in the mesh") return in_the_mesh;
    if (view.state == "waiting") return waiting;
    return view.closed ? closed : leaving;
}

explain::PodHere pod_here(const Inspected& node, const Pods::View& view, bool certified) {
    return {.is = is(view),
            .state = view.why.empty() ? view.state : view.state + " (" + view.why + ")",
            .exclude = view.pod.exclude,
            .name = view.pod.identity.namespace_ + "/" + view.pod.name,
            .by_rules = node.capture->by_rules(view.pod.uid),
            .dns = view.dns,
            .virtual_interfaces = !view.pod.virtual_interfaces.empty(),
            .certified = certified};
}

std::optional<explain::OwnPod> own_pod(const std::unique_ptr<OwnPod>& pod) {
    auto own = pod ? pod->view() : std::nullopt;
    if (!own) return std::nullopt;
    return explain::OwnPod{own->who.uid, own->who.metrics_port, own->why};
}

}

base::Result<boost::json::value> tell_explanation(const Inspected& node, const admin::Query& query) {
    const auto source = query.value("source"), destination = query.value("destination");
    const auto port = query.number("port");
    if (!source || !destination || !port || *port == 0 || *port > 65535)
        return base::problem("an explanation wants source=, destination= and port= from 1 to 65535");
    const state::SnapshotPtr mesh = node.mesh.snapshot();
    const policy::SetPtr policies = node.mesh.policies();
    const auto waits_for = node.readiness.waits_for();
    explain::Node told{.mesh = *mesh,
                       .policies = *policies,
                       .name = node.config.node.name,
                       .network = node.config.node.network,
                       .own = own_pod(node.own_pod),
                       .ips = addresses_of_node(node.config.node.netns),
                       .by_iptables = node.config.capture == control::CaptureMode::iptables,
                       .ipv6 = node.config.ipv6,
                       .on_demand = node.source.on_demand(),
                       .ending = std::ranges::find(waits_for, "draining") != waits_for.end()};
    std::set<state::Identity> certified;
    for (const auto& certificate : node.certificates->stats())
        if (!certificate.serial.empty()) certified.insert(certificate.identity);
    for (const auto& view : node.pods->view())
        told.pods[view.pod.uid] = pod_here(node, view, certified.contains(view.pod.identity));
    return explain::explain(told, {*source, *destination, static_cast<std::uint16_t>(*port)});
}

}
