// SPDX-License-Identifier: Apache-2.0
// How marked packets of a pod find lo, and how replies in a foreign client's name come home: rules and table 100.
#pragma once
#include <string>
#include <vector>

#include <culvert/base/result.hpp>

#include "netlink.hpp"

namespace culvert::capture {

enum class Ipv6 { absent, off, on };  // not in the kernel; switched off; there
// For one interface, or "all". In the calling thread's namespace.
Ipv6 ipv6_of(const std::string& interface);
// Where it is switched off it may be switched on again, for one interface or for all.
inline bool kernel_has_ipv6() {
    return ipv6_of("all") != Ipv6::absent;
}

// What rules and routes follow from.
struct Surroundings {
    Ipv6 ipv6_on_lo = Ipv6::absent;
    std::vector<Interface> interfaces;
    std::vector<InterfaceAddress> addresses;
    friend bool operator==(const Surroundings&, const Surroundings&) = default;
};
// In the calling thread's namespace, which must be the Rtnetlink's.
base::Result<Surroundings> look_around(Rtnetlink&);

struct RoutingChanges {
    unsigned rules = 0;
    unsigned routes = 0;
};
// What a pod has of its own.
struct PodRouting {
    const std::vector<std::string>& virtual_interfaces;
    int table;
    bool dns = false;  // questions to nameservers are looped, but our own
};
// Puts right what is not, in one table, and says how much that was. What the kernel cannot have now (a route by an
// interface that is down) is left for the next time.
base::Result<RoutingChanges> sync_routing(Rtnetlink&, const Surroundings&, const PodRouting&);
// Whatever the table. The last things to go: captured connections need them to their end.
base::Result<> remove_routing(Rtnetlink&);

}
