// SPDX-License-Identifier: Apache-2.0
// What was asked and of whom, with ztunnel's labels. Written by the server's thread, read by any.
#pragma once
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include <prometheus/metric_family.h>

#include <culvert/dns/server.hpp>
#include <culvert/telemetry/counters.hpp>

namespace culvert::dns {

inline constexpr std::array upstream_seconds{0.0005, 0.001, 0.01, 0.1, 1.0, 5.0};

struct Row {
    telemetry::Counter requests, upstream, failures;
    std::array<telemetry::Counter, upstream_seconds.size() + 1> took;  // the last: longer than all
    telemetry::Counter microseconds;

    void answered_after(std::chrono::steady_clock::duration time) noexcept;
};

class Counters {
public:
    // Stays where it is. Of an unknown client, `source` is null.
    Row& row(std::uint16_t type, Transport transport, const state::Workload* source);
    void collect(std::vector<prometheus::MetricFamily>& into) const;

    // Not counted by ztunnel.
    telemetry::Counter no_requests;  // datagrams that nobody answers
    telemetry::Counter refused;      // a pod's too many questions or connections

private:
    using Key = std::tuple<std::string, Transport, std::string, std::string>;  // type, ..., service, revision
    std::map<Key, Row> rows_;
    mutable std::mutex growing_;  // a row is made once; the writer alone reads without it
};

}
