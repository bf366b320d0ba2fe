// SPDX-License-Identifier: Apache-2.0
#include "refusals.hpp"

#include <algorithm>
#include <chrono>

#include <culvert/base/log.hpp>

namespace culvert::proxy {
namespace {

using namespace std::chrono_literals;
using telemetry::PeerFault;

constexpr auto interval = 10s;

struct Words {
    std::string_view in_the_error;
    PeerFault fault;
};

// The first that is found.
constexpr Words known[] = {{"over a limit", PeerFault::over_limit},
                           {"deadline has elapsed", PeerFault::timeout},
                           {"revoked", PeerFault::revoked},
                           {"identity verification error", PeerFault::identity},
                           {"certificate", PeerFault::certificate},
                           {"too many tls messages", PeerFault::flood},
                           {"tls ", PeerFault::tls},
                           {"ENHANCE_YOUR_CALM", PeerFault::flood},
                           {"Flooding was detected", PeerFault::flood},
                           {"the peer closed the tunnel", PeerFault::lost},
                           {"answered no ping", PeerFault::lost},
                           {"h2 failed", PeerFault::http2}};

}

PeerFault fault_of(const std::string& error) {
    auto found = std::ranges::find_if(
        known, [&](const Words& words) { return error.find(words.in_the_error) != std::string::npos; });
    return found == std::end(known) ? PeerFault::lost : found->fault;
}

Refusals::Refusals(base::Loop& loop, telemetry::WorkerCounters& counters)
    : counters_{counters}, interval_{loop, [this] { sum_up(); }} {}

bool Refusals::count(PeerFault fault, const base::SocketAddress& source) {
    auto index = static_cast<std::size_t>(fault);
    counters_.faults[index].add();
    Unsaid& here = faults_[index];
    if (!interval_.armed()) interval_.arm(interval);
    if (here.said < lines) {
        ++here.said;
        return true;
    }
    ++here.count;
    here.last = source;
    return false;
}

void Refusals::sum_up() {
    for (std::size_t i = 0; i < faults_.size(); ++i) {
        Unsaid ended = std::exchange(faults_[i], {});
        if (ended.count == 0) continue;
        auto fault = static_cast<PeerFault>(i);
        base::log::warn(
            "proxy", "{} more {} within 10 s ({}: {}), the last from {}", ended.count,
            fault == PeerFault::request ? "requests of peers were refused" : "tunnels of peers were refused or cut",
            to_string(fault), description(fault), ended.last.to_string());
    }
}

}
