// SPDX-License-Identifier: Apache-2.0
// What a connection leaves behind: exactly one access log line and one metric, however it ends.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/close_reason.hpp>
#include <culvert/telemetry/counters.hpp>

namespace culvert::telemetry {

// Made when a connection is accepted; its destructor writes the line and counts the reason, also when the task that
// holds it is destroyed where it waits: that connection was drained.
// Lives on: one worker. Borrows: the log and the worker's counters.
class ConnectionRecord {
public:
    ConnectionRecord(AccessLog& log, unsigned worker, WorkerCounters& counters, Direction direction,
                     const base::SocketAddress& source, const base::SocketAddress& destination);
    ~ConnectionRecord();
    ConnectionRecord(const ConnectionRecord&) = delete;
    ConnectionRecord& operator=(const ConnectionRecord&) = delete;

    // Who speaks to whom is known and in `entry`: the line will say "connection complete" with every field.
    void context_known() noexcept { entry.early = false; }

    // Bytes that were carried from the side that opened the connection, and towards it.
    void moved(std::uint64_t from_source, std::uint64_t to_source) noexcept {
        from_source_ += from_source;
        to_source_ += to_source;
    }
    std::uint64_t from_source() const noexcept { return from_source_; }
    std::uint64_t to_source() const noexcept { return to_source_; }

    // How it ended. The first word stands: what comes after it is a consequence.
    // A reason other than ok without a text gets the reason's own sentence.
    void close(CloseReason reason, std::string error = {});
    bool closed() const noexcept { return closed_; }

    AccessEntry entry;  // to be filled in; bytes, duration, end and error are this class's

private:
    AccessLog& log_;
    WorkerCounters& counters_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    std::uint64_t from_source_ = 0;
    std::uint64_t to_source_ = 0;
    unsigned worker_;
    CloseReason reason_ = CloseReason::drained;
    bool closed_ = false;
};

}
