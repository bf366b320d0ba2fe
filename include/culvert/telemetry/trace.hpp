// SPDX-License-Identifier: Apache-2.0
// What is decided about the connections of a few pods, told while it happens to whoever asks for it.
//
//   worker: Trace::tell() -> its ring -> control thread: empties the rings now and then -> culvertctl trace
//
// A worker has a Trace while somebody asks, and none otherwise: then all that is left of it is one look at a pointer of
// its own for each decision. It never waits: when the ring is full an event is dropped and counted.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/close_reason.hpp>
#include <culvert/telemetry/counters.hpp>
#include <culvert/telemetry/ring.hpp>

namespace culvert::telemetry {

struct TraceEvent {
    enum class What : std::uint8_t { route, verdict, end, refused };  // the last: by the kernel
    What what = What::route;
    Direction direction = Direction::outbound;
    bool good = true;                      // it leads somewhere, it is allowed, it ended in order
    CloseReason reason = CloseReason::ok;  // of an end
    std::int64_t at_ns = 0;                // Unix time
    std::string pod;                       // the uid of ours
    base::SocketAddress source;
    base::SocketAddress destination;  // of a tunnel, what was asked for through it
    state::WorkloadPtr source_workload;
    state::WorkloadPtr destination_workload;
    std::string peer;  // whom the other side proved, or has to prove, to be: SPIFFE ids
    std::string text;  // where to, why, how it ended
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    std::chrono::milliseconds duration{0};
};

std::string_view to_string(TraceEvent::What) noexcept;  // "route", "verdict", "end", "refused"

struct TraceRing {
    static constexpr std::size_t bound = 4096;
    Ring<TraceEvent> events{bound};
    alignas(64) Counter dropped;
};

// Whom to tell of, for one worker. Immutable but for the ring, whose writer that worker is.
class Trace {
public:
    struct Pods {
        std::set<std::string> uids;
        // Of connections that ended before anybody knew whose they were.
        std::map<base::IpAddress, std::string> uid_of_ip;
    };
    Trace(Pods pods, std::shared_ptr<TraceRing> ring) : pods_{std::move(pods)}, ring_{std::move(ring)} {}

    // On the worker. What is known of a connection by now; null: it is of no pod that is asked for.
    std::unique_ptr<TraceEvent> event(TraceEvent::What what, const OpenEntry& entry) const noexcept;
    void tell(std::unique_ptr<TraceEvent> event) const noexcept;

private:
    const std::string* pod_of(const OpenEntry& entry) const;

    const Pods pods_;
    const std::shared_ptr<TraceRing> ring_;
};
using TracePtr = std::shared_ptr<const Trace>;

}
