// SPDX-License-Identifier: Apache-2.0
// Who talked to whom, how often and how much: what Istio's dashboards show, under its names.
//
//   worker: one table of series -> what is new in it, when somebody asks -> control thread: totals, by label -> door
//
// A connection finds its series when it opens and adds to it when it ends; nothing happens in between. What an open one
// has moved is looked up when somebody asks. Workloads are told apart by address in a worker and by name in the totals,
// so a mesh that is published anew goes on in the same series.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/close_reason.hpp>

namespace culvert::telemetry {

// X(name, label): how a connection ended, in Istio's letters. What nobody has a word for is CONNECT.
#define CULVERT_RESPONSE_FLAGS(X)                   \
    X(none, "-")                                    \
    X(deny, "DENY")                                 \
    X(connect, "CONNECT")                           \
    X(tls_failure, "TLS_FAILURE")                   \
    X(h2_handshake_failure, "H2_HANDSHAKE_FAILURE") \
    X(network_policy, "NETWORK_POLICY")             \
    X(identity_error, "IDENTITY_ERROR")             \
    X(cert_revoked, "CERT_REVOKED")

enum class ResponseFlag : std::uint8_t {
#define X(name, label) name,
    CULVERT_RESPONSE_FLAGS(X)
#undef X
};
inline constexpr std::size_t response_flag_count = 0
#define X(name, label) +1
    CULVERT_RESPONSE_FLAGS(X)
#undef X
    ;

std::string_view to_string(ResponseFlag) noexcept;  // the label
ResponseFlag response_flag(CloseReason reason, std::string_view error) noexcept;

// What the labels are made of.
struct Between {
    Direction reporter = Direction::outbound;
    bool mutual_tls = false;
    bool overflow = false;  // all those for whom there was no series
    state::WorkloadPtr source;
    state::WorkloadPtr destination;
    state::ServicePtr service;
    std::shared_ptr<const state::Identity> peer;  // inbound: what it proved to be
};

// In Istio's words, whoever reports: received, what the client sent; sent, what it got.
struct TrafficBytes {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
};

struct TrafficSeries {
    Between between;
    std::uint64_t opened = 0;
    std::array<std::uint64_t, response_flag_count> closed{};
    TrafficBytes bytes;
    std::uint64_t open = 0;  // now
};

// One worker's, or the control thread's own. Lives on: that thread.
class Traffic {
public:
    static constexpr std::size_t most_series = 4096;  // then there is one for all others

    struct Series;
    Traffic();
    ~Traffic();
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    // A connection whose context is known. Null: no memory, and it is in no series.
    Series* opened(const OpenEntry& entry) noexcept;
    // `looked_at`: in the look that is under way.
    void closed(Series& series, const OpenEntry& entry, ResponseFlag flag, bool looked_at) noexcept;

    // Of each connection that is open, what it has moved by now; then what is new since this was done last.
    void look_at(Series& series, const OpenEntry& entry) noexcept;
    std::vector<TrafficSeries> take();

private:
    Series& series_of(const OpenEntry& entry);

    std::unordered_multimap<std::size_t, std::unique_ptr<Series>> table_;  // by hash
    std::array<std::unique_ptr<Series>, 2> overflow_;                      // by direction
};

struct TrafficReport {
    std::vector<TrafficSeries> series;
    std::uint64_t outbound = 0;       // captured sockets of apps that are open
    std::uint64_t inbound_plain = 0;  // and of clients, without tunnels
};

// How a page of metrics is written: Prometheus' own text has the type under the sample's name, OpenMetrics under the
// family's.
enum class Dialect : std::uint8_t { prometheus, open_metrics };

// All series of the node, by their labels. Lives on: the control thread.
class TrafficTotals {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t most_series = Traffic::most_series;
    static constexpr Clock::duration unused = std::chrono::minutes{15};

    // May throw std::bad_alloc.
    void add(const TrafficSeries& fresh, Clock::time_point now);
    // Series that nothing was added to for so long, and that no open connection belongs to, go.
    void expire(Clock::time_point now);
    void append(std::string& page, Dialect dialect) const;

    std::size_t size() const noexcept { return totals_.size(); }
    std::uint64_t expired() const noexcept { return expired_; }
    // Connections that are in no series of their own.
    std::uint64_t overflowed() const noexcept { return overflowed_; }

private:
    struct Total {
        std::size_t flag_at;  // where in the key the response flag belongs
        std::uint64_t opened = 0;
        std::array<std::uint64_t, response_flag_count> closed{};
        TrafficBytes bytes;
        Clock::time_point used{};
    };
    std::map<std::string, Total> totals_;  // by labels, as they are written
    std::uint64_t expired_ = 0;
    std::uint64_t overflowed_ = 0;
};

// One family's head in a dialect; of a counter the name is without _total.
void append_family(std::string& page, Dialect dialect, std::string_view name, bool counter, std::string_view help);

}
