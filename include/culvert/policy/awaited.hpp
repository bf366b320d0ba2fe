// SPDX-License-Identifier: Apache-2.0
// Policies that workloads name and nobody has yet. istiod sends a workload before the policies that it
// names, so a name that is new is waited for, once and not for long.
//
// Lives on: the control thread.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <culvert/policy/policy.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::policy {

using Names = std::set<std::string>;  // "namespace/name"

// The rest of the same push takes milliseconds.
inline constexpr std::chrono::milliseconds longest_wait{1000};

class Awaited {
public:
    using Clock = std::chrono::steady_clock;

    // After each change, and when a wait is over: those that are still waited for.
    Names after(const state::Snapshot& mesh, const std::vector<Policy>& policies, Clock::time_point now);
    // When the next wait is over.
    std::optional<Clock::time_point> next(Clock::time_point now) const;

private:
    std::map<std::string, Clock::time_point> until_;  // all that are missing
};

}
