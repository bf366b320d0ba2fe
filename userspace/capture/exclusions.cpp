// SPDX-License-Identifier: Apache-2.0
#include "exclusions.hpp"

#include <algorithm>

namespace culvert::capture {

static_assert(state::Exclusions::most == CV_EXCLUDED_PORTS && state::Exclusions::most == CV_EXCLUDED_RANGES);

namespace {

void put_ports(__u16 (&row)[CV_EXCLUDED_PORTS], const std::vector<std::uint16_t>& ports) {
    std::ranges::fill(row, __u16{0});
    std::ranges::copy(ports, row);
}

}

// A mask is the network of the address that is all ones; a mapped one is IPv4's, so its bits are counted on.
cv_range to_range(const state::Cidr& cidr) {
    cv_range range{};
    base::IpAddress ones;
    ones.bytes.fill(0xff);
    auto mask = state::Cidr{ones, cidr.prefix_length + (cidr.ip.is_v4() ? 96 : 0)}.network();
    std::ranges::copy(mask.bytes, range.mask);
    std::ranges::copy(cidr.network().bytes, range.ip);
    range.family = cidr.ip.is_v4() ? CV_IPV4 : CV_IPV6;
    range.prefix = cidr.prefix_length;
    return range;
}

base::Result<> put_exclusions(cv_pod& row, const state::Exclusions& exclusions) {
    for (std::size_t length :
         {exclusions.outbound_ports.size(), exclusions.outbound_cidrs.size(), exclusions.inbound_ports.size()})
        if (length > state::Exclusions::most)
            return base::problem("a row of cv_pods has room for " + std::to_string(state::Exclusions::most) +
                                 " exclusions of a kind");
    put_ports(row.outbound_ports, exclusions.outbound_ports);
    put_ports(row.inbound_ports, exclusions.inbound_ports);
    std::ranges::fill(row.outbound_ranges, cv_range{});
    std::ranges::transform(exclusions.outbound_cidrs, row.outbound_ranges, to_range);
    bool outbound = !exclusions.outbound_ports.empty() || !exclusions.outbound_cidrs.empty();
    row.excludes = static_cast<__u8>((outbound ? CV_EXCLUDES_OUTBOUND : 0) |
                                     (exclusions.inbound_ports.empty() ? 0 : CV_EXCLUDES_INBOUND));
    return {};
}

}
