// SPDX-License-Identifier: Apache-2.0
#include "routing.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <culvert/base/fd.hpp>
#include <culvert/bpf/marks.h>

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// Metrics: unbound sockets take lo; a socket bound to a device finds only that device's route.
constexpr std::uint32_t metric_lo = 100;
constexpr std::uint32_t metric_device = 1000;

constexpr const char* tcp_fwmark_accept = "/proc/sys/net/ipv4/tcp_fwmark_accept";
constexpr const char* fwmark_reflect = "/proc/sys/net/ipv4/fwmark_reflect";
constexpr const char* fwmark_reflect6 = "/proc/sys/net/ipv6/fwmark_reflect";

Result<std::uint8_t> read_sysctl(const char* path) {
    Fd file{::open(path, O_RDONLY | O_CLOEXEC)};
    char digit = 0;
    if (!file || ::read(file.get(), &digit, 1) != 1) return base::errno_while(std::string{"read "} + path);
    return static_cast<std::uint8_t>(digit - '0');
}

Result<> write_sysctl(const char* path, std::uint8_t value) {
    Fd file{::open(path, O_WRONLY | O_CLOEXEC)};
    char digit = static_cast<char>('0' + value);
    if (!file || ::write(file.get(), &digit, 1) != 1) return base::errno_while(std::string{"write "} + path);
    return {};
}

std::vector<Rule> rules(int family) {
    return {{family, CV_RULE_PRIORITY_REFUSE, CV_MARK_REFUSE, CV_MARK_MASK, 0},
            {family, CV_RULE_PRIORITY_LOOP, CV_MARK_LOOP, CV_MARK_MASK, CV_ROUTE_TABLE}};
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

}

bool netns_has_ipv6() {
    auto disabled = read_sysctl("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    return disabled.has_value() && *disabled == 0;
}

Result<Sysctls> read_sysctls(bool ipv6) {
    Sysctls now;
    auto accept = read_sysctl(tcp_fwmark_accept);
    if (!accept) return accept.error();
    auto reflect = read_sysctl(fwmark_reflect);
    if (!reflect) return reflect.error();
    now.tcp_fwmark_accept = *accept;
    now.fwmark_reflect = *reflect;
    if (!ipv6) return now;
    auto reflect6 = read_sysctl(fwmark_reflect6);
    if (!reflect6) return reflect6.error();
    now.fwmark_reflect6 = *reflect6;
    return now;
}

Result<> write_sysctls(const Sysctls& wanted, bool ipv6) {
    if (auto done = write_sysctl(tcp_fwmark_accept, wanted.tcp_fwmark_accept); !done) return done;
    if (auto done = write_sysctl(fwmark_reflect, wanted.fwmark_reflect); !done) return done;
    if (!ipv6) return {};
    return write_sysctl(fwmark_reflect6, wanted.fwmark_reflect6);
}

Result<> add_rules(Rtnetlink& netlink, bool ipv6) {
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !ipv6) continue;
        for (const Rule& rule : rules(family))
            if (auto added = netlink.add(rule); !added) return added;
    }
    return {};
}

Result<> sync_routes(Rtnetlink& netlink, bool ipv6, const std::vector<Interface>& interfaces,
                     const std::vector<InterfaceAddress>& addresses) {
    auto put = [&](int family, int interface, std::uint32_t metric, int source_of) -> Result<> {
        LocalRoute route{family, interface, CV_ROUTE_TABLE, metric, {}};
        // IPv4 needs the hint: without it a socket that connects for the second time is told ENETUNREACH. IPv6 picks
        // a sane source alone, and refuses a hint that is still tentative.
        if (family == AF_INET)
            if (const InterfaceAddress* source = preferred_source(family, source_of, addresses))
                route.source = source->ip;
        return netlink.put(route);
    };
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !ipv6) continue;
        if (auto done = put(family, CV_LOOPBACK_IFINDEX, metric_lo, 0); !done) return done;
        for (const Interface& interface : interfaces) {
            auto done = put(family, interface.index, metric_device + static_cast<std::uint32_t>(interface.index),
                            interface.index);
            // Down, or without this family: its sockets have no way out either, and an event tells when that changes.
            if (!done && done.error().code.value() != ENETDOWN && done.error().code.value() != EINVAL &&
                done.error().code.value() != ENODEV && done.error().code.value() != EACCES)
                return done;
        }
    }
    return {};
}

Result<> remove_routing(Rtnetlink& netlink) {
    for (int family : {AF_INET, AF_INET6}) {
        for (const Rule& rule : rules(family))
            if (auto removed = netlink.remove(rule); !removed) return removed;
        if (auto cleared = netlink.clear(family, CV_ROUTE_TABLE); !cleared) return cleared;
    }
    return {};
}

}
