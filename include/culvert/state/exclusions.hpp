// SPDX-License-Identifier: Apache-2.0
// What of a pod's traffic bypasses the mesh, neither sealed nor judged.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <culvert/state/cidr.hpp>

namespace culvert::state {

struct Exclusions {
    // The kernel programs look through short lists: the most ports of each kind, and the most ranges.
    static constexpr std::size_t most = 16;

    std::vector<std::uint16_t> outbound_ports;
    std::vector<Cidr> outbound_cidrs;  // without host bits
    std::vector<std::uint16_t> inbound_ports;

    bool empty() const noexcept { return outbound_ports.empty() && outbound_cidrs.empty() && inbound_ports.empty(); }
    // Each list becomes the union of both, in order.
    void add(const Exclusions& others);
    // "outbound ports 3306, 27017 and 10.9.0.0/16 and inbound port 9100 bypass the mesh", "nothing bypasses the mesh".
    std::string to_string() const;
    // What lets such a connection past, if anything does, as the kernel decides it (bpf/lib/exclude.h): "outbound port
    // 3306 bypasses the mesh".
    std::optional<std::string> bypass_outbound(const base::SocketAddress& target) const;
    std::optional<std::string> bypass_inbound(std::uint16_t port) const;

    friend bool operator==(const Exclusions&, const Exclusions&) = default;
};

}
