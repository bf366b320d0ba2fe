// SPDX-License-Identifier: Apache-2.0
// The access log: one line per connection and side, written by a thread of its own.
//
//   worker: submit() -> its ring -> writer thread: gathers 10 ms, formats, writes up to 64 KiB at once -> file
//
// A worker puts an entry into its ring and goes on: it never waits, never formats, never writes. When the ring is full
// the entry is dropped and counted. Fields, order and texts are ztunnel's.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <culvert/base/address.hpp>
#include <culvert/base/log.hpp>
#include <culvert/base/result.hpp>
#include <culvert/state/workload.hpp>

namespace culvert::telemetry {

enum class Direction : std::uint8_t { inbound, outbound };

std::string_view to_string(Direction) noexcept;

// What is known while the connection lives. Each holds one: small things side by side, no copy of what lives elsewhere.
struct OpenEntry {
    Direction direction = Direction::outbound;
    bool early = false;       // refused before it had a context: "connection failed", only src, dst, direction, error
    bool mutual_tls = false;  // proved or used identities, which are shown
    std::uint16_t hbone_port = 0;
    base::SocketAddress source;
    base::SocketAddress destination;  // next hop; podIP:15008 for HBONE on both sides
    state::WorkloadPtr source_workload;
    state::WorkloadPtr destination_workload;
    std::shared_ptr<const state::Identity> peer_identity;  // inbound: what the peer's certificate says
    state::ServicePtr service;                             // null when unknown
    std::unique_ptr<const std::string> hbone_name;
    // By the reporting side's view: outbound client to server, inbound server to client.
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;

    // The CONNECT's authority, after the destination: as a rule it is a port of that address, and only this is kept.
    void set_hbone_target(const std::string& authority);
    std::string hbone_target() const;  // empty for plain TCP
    std::optional<state::Identity> source_identity() const;
    std::optional<state::Identity> destination_identity() const;
};

struct AccessEntry : OpenEntry {
    std::int64_t ended_ns = 0;  // Unix time
    std::chrono::milliseconds duration{0};
    std::string error;  // empty: success
};

struct AccessLogStats {
    std::uint64_t written = 0;       // lines that are in the file
    std::uint64_t dropped = 0;       // never taken from a worker: its ring was full
    std::uint64_t lost = 0;          // taken, and given up because nobody reads the output any more
    std::uint64_t write_errors = 0;  // writes that failed: disk full (tried again later), closed pipe (given up)
};

class AccessLog {
public:
    // `path` empty: standard output. Opens the file now and fails in words that name it. Starts the thread.
    // A ring takes memory only for entries that wait (about 0.5 KiB each); `ring_entries` bounds how many may.
    static base::Result<std::unique_ptr<AccessLog>> open(const std::string& path, base::log::Format format,
                                                         unsigned workers, std::size_t ring_entries = 4096);
    // Writes what is queued, for a second at most, then ends the thread. No worker may submit any more.
    ~AccessLog();

    void submit(unsigned worker, AccessEntry&& entry) noexcept;  // on that worker only
    void reopen();                          // SIGHUP: any thread; the file is opened again by its path
    AccessLogStats stats() const noexcept;  // any thread

private:
    class Impl;
    explicit AccessLog(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// One line, with its newline, appended.
void format_entry(fmt::memory_buffer& out, const AccessEntry& entry, base::log::Format format);

}
