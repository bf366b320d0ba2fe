// SPDX-License-Identifier: Apache-2.0
// Clients whom the mesh does not know by their address: those of another network, and those it has not been told of.
// The access log and the metrics say of them what their `baggage` says. Only their identity is proved, and nothing is
// decided by this.
//
// Lives on: one worker.
#pragma once
#include <chrono>
#include <string>
#include <unordered_map>

#include <culvert/state/workload.hpp>

namespace culvert::proxy {

class Strangers {
public:
    using Clock = std::chrono::steady_clock;
    // Each may be a series of the metrics, which live as long: peers that make up names get no more of them than that.
    static constexpr std::size_t most = 256;
    static constexpr Clock::duration kept = std::chrono::minutes{15};

    // The same for the same text. Null: it says nothing of a workload, or there are too many. May throw std::bad_alloc.
    state::WorkloadPtr find(const std::string& baggage, Clock::time_point now);

private:
    struct Stranger {
        state::WorkloadPtr workload;
        Clock::time_point came;
    };
    std::unordered_map<std::string, Stranger> all_;  // by baggage
};

}
