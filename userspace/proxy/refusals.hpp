// SPDX-License-Identifier: Apache-2.0
// Tunnels of peers that were refused or cut, and their requests that were refused: each is counted, the first of an
// interval have lines of their own, and the rest are one line with their number. A flood of them must not push other
// connections' lines out of the log.
//
// Lives on: one worker.
#pragma once
#include <array>
#include <string>

#include <culvert/base/address.hpp>
#include <culvert/base/loop.hpp>
#include <culvert/telemetry/counters.hpp>

namespace culvert::proxy {

// By the words of hbone::Server::serve().
telemetry::PeerFault fault_of(const std::string& error);

class Refusals {
public:
    Refusals(base::Loop& loop, telemetry::WorkerCounters& counters);

    // True: it may have a line of its own.
    bool count(telemetry::PeerFault fault, const base::SocketAddress& source);

private:
    static constexpr std::uint32_t lines = 50;  // per fault and interval
    void sum_up();

    struct Unsaid {
        std::uint32_t said = 0;
        std::uint64_t count = 0;
        base::SocketAddress last;
    };
    telemetry::WorkerCounters& counters_;
    std::array<Unsaid, telemetry::peer_fault_count> faults_;
    base::Timer interval_;
};

}
