// SPDX-License-Identifier: Apache-2.0
#include "routing.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>

#include <culvert/base/fd.hpp>
#include <culvert/bpf/marks.h>

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// Metrics: unbound sockets take lo; a socket bound to a device finds only that device's route.
constexpr std::uint32_t metric_prohibit = 50;
constexpr std::uint32_t metric_lo = 100;
constexpr std::uint32_t metric_device = 1000;

std::vector<Rule> wanted_rules(int family, const PodRouting& pod) {
    std::vector<Rule> rules{{family, CV_RULE_PRIORITY_REFUSE, CV_MARK_REFUSE, CV_MARK_MASK, 0},
                            {family, CV_RULE_PRIORITY_LOOP, CV_MARK_LOOP, CV_MARK_MASK, pod.table}};
    // What VMs and nested containers send to the world is delivered here, where cv_lookup meets it.
    for (const std::string& name : pod.virtual_interfaces)
        rules.push_back({family, CV_RULE_PRIORITY_VIRTUAL, 0, 0, pod.table, name, IPPROTO_TCP});
    // Without a mark of ours: what we ask in the pod's name has one.
    if (pod.dns)
        rules.push_back({family, CV_RULE_PRIORITY_DNS, 0, CV_MARK_MASK, pod.table, "", IPPROTO_UDP, CV_DNS_PORT});
    return rules;
}

const InterfaceAddress* preferred_source(int family, int interface, const std::vector<InterfaceAddress>& addresses) {
    const InterfaceAddress* best = nullptr;
    for (const InterfaceAddress& address : addresses) {
        if (address.family != family || address.ip.is_loopback() || !address.global) continue;
        if (interface && address.interface != interface) continue;
        if (!best || (best->secondary && !address.secondary)) best = &address;
    }
    return best;
}

LocalRoute local_route(int family, int interface, int table, std::uint32_t metric, int source_of,
                       const Surroundings& around) {
    LocalRoute route{family, interface, table, metric};
    // IPv4 needs the hint: without it a socket that connects for the second time is told ENETUNREACH. IPv6 picks a
    // sane source alone, and refuses a hint that is still tentative.
    if (family == AF_INET)
        if (const InterfaceAddress* source = preferred_source(family, source_of, around.addresses))
            route.source = source->ip;
    return route;
}

std::vector<LocalRoute> wanted_routes(int family, const Surroundings& around, int table) {
    // Nothing can be looped over a lo without IPv6: connects of that family fail at once, instead of hanging.
    if (family == AF_INET6 && around.ipv6_on_lo == Ipv6::off)
        return {{family, CV_LOOPBACK_IFINDEX, table, metric_prohibit, {}, true}};
    std::vector<LocalRoute> routes{local_route(family, CV_LOOPBACK_IFINDEX, table, metric_lo, 0, around)};
    for (const Interface& interface : around.interfaces)
        routes.push_back(local_route(family, interface.index, table,
                                     metric_device + static_cast<std::uint32_t>(interface.index), interface.index,
                                     around));
    return routes;
}

// The interface is down, or without this family: its sockets have no way out either, and an event tells of a change.
bool may_be_missing(const LocalRoute& route, int err) {
    return route.interface != CV_LOOPBACK_IFINDEX &&
           (err == ENETDOWN || err == EINVAL || err == ENODEV || err == EACCES);
}

template <class T>
bool contains(const std::vector<T>& all, const T& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

Result<> sync_rules(Rtnetlink& netlink, int family, const std::vector<Rule>& wanted, unsigned& changed) {
    auto there = netlink.rules(family);
    if (!there) return there.error();
    for (const Rule& rule : wanted) {
        if (contains(*there, rule)) continue;
        if (auto added = netlink.add(rule); !added) return added;
        ++changed;
    }
    for (const Rule& rule : *there) {
        if (contains(wanted, rule)) continue;
        if (auto removed = netlink.remove(rule); !removed) return removed;
    }
    return {};
}

// New ones first: at no moment is there nothing for a marked packet.
Result<> sync_routes(Rtnetlink& netlink, int family, int table, const std::vector<LocalRoute>& wanted,
                     unsigned& changed) {
    auto there = netlink.routes(family, table);
    if (!there) return there.error();
    for (const LocalRoute& route : wanted) {
        if (contains(*there, route)) continue;
        auto put = netlink.put(route);
        if (put)
            ++changed;
        else if (!may_be_missing(route, put.error().code.value()))
            return put;
    }
    for (const LocalRoute& route : *there) {
        bool replaced = std::any_of(wanted.begin(), wanted.end(), [&](const LocalRoute& one) {
            return one.interface == route.interface && one.metric == route.metric;
        });
        if (replaced) continue;
        if (auto removed = netlink.remove(route); !removed) return removed;
    }
    return {};
}

}

Ipv6 ipv6_of(const std::string& interface) {
    Fd file{::open(("/proc/sys/net/ipv6/conf/" + interface + "/disable_ipv6").c_str(), O_RDONLY | O_CLOEXEC)};
    char digit = 0;
    if (!file || ::read(file.get(), &digit, 1) != 1) return Ipv6::absent;
    return digit == '0' ? Ipv6::on : Ipv6::off;
}

Result<Surroundings> look_around(Rtnetlink& netlink) {
    Surroundings around;
    around.ipv6_on_lo = ipv6_of("lo");
    auto interfaces = netlink.interfaces();
    if (!interfaces) return interfaces.error();
    around.interfaces = std::move(*interfaces);
    auto addresses = netlink.addresses();
    if (!addresses) return addresses.error();
    around.addresses = std::move(*addresses);
    return around;
}

Result<RoutingChanges> sync_routing(Rtnetlink& netlink, const Surroundings& around, const PodRouting& pod) {
    RoutingChanges changes;
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && around.ipv6_on_lo == Ipv6::absent) continue;
        auto rules = sync_rules(netlink, family, wanted_rules(family, pod), changes.rules);
        if (!rules) return rules.error();
        auto routes = sync_routes(netlink, family, pod.table, wanted_routes(family, around, pod.table), changes.routes);
        if (!routes) return routes.error();
    }
    return changes;
}

Result<> remove_routing(Rtnetlink& netlink) {
    for (int family : {AF_INET, AF_INET6}) {
        auto rules = netlink.rules(family);
        if (!rules) return rules.error();
        for (const Rule& rule : *rules)
            if (auto removed = netlink.remove(rule); !removed) return removed;
        for (int table : {CV_ROUTE_TABLE, CV_ROUTE_TABLE_BESIDE}) {
            auto routes = netlink.routes(family, table);
            if (!routes) return routes.error();
            for (const LocalRoute& route : *routes)
                if (auto removed = netlink.remove(route); !removed) return removed;
        }
    }
    return {};
}

}
