// SPDX-License-Identifier: Apache-2.0
// What was found broken or missing, and put right: said in the log, counted for the metrics door.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <culvert/capture/capture.hpp>

namespace culvert::capture {

// The order is that of the names in repairs.cpp.
enum class Part { sockops, alive, row, policy, lookup, guard, listener, rule, route, sysctl, pin, iptables, count };

class Repairs {
public:
    void add(Part part, const std::string& whose, unsigned times = 1);
    std::vector<RepairCount> counts() const;

private:
    std::array<std::uint64_t, static_cast<std::size_t>(Part::count)> counts_{};
};

}
