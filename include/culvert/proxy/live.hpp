// SPDX-License-Identifier: Apache-2.0
// Connections that live, as a worker tells of them to somebody who looks: copies, a page at a time.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <culvert/telemetry/access_log.hpp>

namespace culvert::telemetry {
struct Recorder;
}

namespace culvert::proxy {

struct LiveConnection {
    telemetry::Direction direction;
    bool tunnelled;
    base::SocketAddress source;
    base::SocketAddress destination;  // next hop: of a tunnel, its far end as seen from the one who opened it
    std::string target;               // what was asked for through the tunnel
    state::WorkloadPtr source_workload;
    state::WorkloadPtr destination_workload;
    std::optional<state::Identity> source_identity;  // proved, or used: none of plaintext
    std::optional<state::Identity> destination_identity;
    state::ServicePtr service;
    std::chrono::steady_clock::time_point began;
    std::uint64_t bytes_sent;  // as in the access log
    std::uint64_t bytes_received;
};

struct ConnectionQuery {
    std::chrono::steady_clock::time_point after{};  // those that began later
    std::size_t limit = 500;                        // a page holds up the worker's connections while it is written
    std::string pod;                                // of this node: uid, name or namespace/name; empty: all
};

struct ConnectionPage {
    std::vector<LiveConnection> connections;  // oldest first
    bool more = false;                        // there are later ones
};

// A pod on one worker.
struct PodUse {
    std::size_t listeners = 0;
    std::size_t connections = 0;
};

ConnectionPage page_of(const telemetry::Recorder& recorder, const ConnectionQuery& query);
std::map<std::string, PodUse> connections_of_pods(const telemetry::Recorder& recorder);  // by uid

}
