// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next stream.
#pragma once
#include <random>

#include <culvert/grpc/status.hpp>
#include <culvert/xds/client.hpp>

namespace culvert::xds {

// `garbage`: we ended the stream, for what came was no xDS.
Termination why_ended(const grpc::Status& status, bool garbage) noexcept;

class Backoff {
public:
    Backoff(Client::Pace pace, std::uint64_t seed) : pace_{pace}, random_{seed} {}

    // Failures double the wait, from the first to the most. What connections do by themselves, and a stream that istiod
    // ended, cost the first wait alone - where the stream had lived: one that breaks as soon as it stands is a failure.
    // Half of a wait is left to chance, or all nodes would come back together.
    std::chrono::milliseconds after(Termination why, std::chrono::milliseconds lived);

private:
    const Client::Pace pace_;
    std::chrono::milliseconds last_{0};
    std::minstd_rand random_;
};

}
