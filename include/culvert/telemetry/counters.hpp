// SPDX-License-Identifier: Apache-2.0
// What a worker counts: written by its own thread without a lock, read by the metrics door.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include <culvert/telemetry/close_reason.hpp>
#include <culvert/telemetry/peer_fault.hpp>

namespace culvert::telemetry {

// X(name, kind, text): the metric is culvert_proxy_<name> (kind counter: with _total).
#define CULVERT_WORKER_COUNTERS(X)                                                     \
    X(connections_outbound, counter, "captured connections accepted from apps")        \
    X(connections_inbound_hbone, counter, "HBONE requests accepted from peers")        \
    X(connections_inbound_plain, counter, "plaintext connections accepted for apps")   \
    X(connections_open, gauge, "connections carried now")                              \
    X(tunnels_in_accepted, counter, "tunnels that peers opened to us")                 \
    X(tunnels_in_open, gauge, "tunnels from peers open now")                           \
    X(tunnels_out_opened, counter, "tunnels that we opened to peers")                  \
    X(tunnels_out_failed, counter, "tunnels to peers that could not be opened")        \
    X(tunnels_out_open, gauge, "tunnels to peers open now")                            \
    X(ping_timeouts, counter, "tunnels ended because the peer answered no PING")       \
    X(bytes_to_peers, counter, "payload bytes that left towards the network")          \
    X(bytes_to_apps, counter, "payload bytes that were handed to apps")                \
    X(certificate_waits, counter, "connections that had to wait for a certificate")    \
    X(certificate_waiting, gauge, "connections that wait for a certificate now")       \
    X(accept_errors, counter, "accepts that failed for want of descriptors or memory") \
    X(flows_unlisted, counter, "connections that found no row in cv_flows")

// Relaxed atomics with one writer: a plain add, and a reader never sees a torn value.
class Counter {
public:
    void add(std::uint64_t n = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void sub(std::uint64_t n = 1) noexcept { add(~n + 1); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

struct alignas(64) WorkerCounters {
#define X(name, kind, text) Counter name;
    CULVERT_WORKER_COUNTERS(X)
#undef X
    std::array<Counter, close_reason_count> closed;  // by CloseReason
    std::array<Counter, peer_fault_count> faults;    // by PeerFault
};

}
