// SPDX-License-Identifier: Apache-2.0
// How marked packets of a pod find lo, and how replies in a foreign client's name come home: rules, table 100, sysctls.
//
// All of it runs in the calling thread's namespace, or in that of the Rtnetlink given.
#pragma once
#include <cstdint>
#include <vector>

#include <culvert/base/result.hpp>

#include "netlink.hpp"

namespace culvert::capture {

// IPv6 is there and not switched off.
bool netns_has_ipv6();

struct Sysctls {
    std::uint8_t tcp_fwmark_accept = 0;
    std::uint8_t fwmark_reflect = 0;
    std::uint8_t fwmark_reflect6 = 0;
};
base::Result<Sysctls> read_sysctls(bool ipv6);
base::Result<> write_sysctls(const Sysctls&, bool ipv6);

base::Result<> add_rules(Rtnetlink&, bool ipv6);
// Puts table 100 right for the interfaces and addresses of now; again after every change of them.
base::Result<> sync_routes(Rtnetlink&, bool ipv6, const std::vector<Interface>&, const std::vector<InterfaceAddress>&);
// The last things to go: captured connections need them to their end.
base::Result<> remove_routing(Rtnetlink&);

}
