// SPDX-License-Identifier: Apache-2.0
// What a connection leaves behind: exactly one access log line and one metric, however it ends.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
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

    // Bytes that our pod's app sent, and that it got.
    void sent(std::uint64_t bytes) noexcept { entry.bytes_sent += bytes; }
    void received(std::uint64_t bytes) noexcept { entry.bytes_received += bytes; }
    WorkerCounters& counters() noexcept { return counters_; }

    // How it ended. The first word stands: what comes after it is a consequence.
    // A reason other than ok without a text gets the reason's own sentence.
    void close(CloseReason reason, std::string error = {});
    bool closed() const noexcept { return closed_; }

    OpenEntry entry;  // to be filled in; bytes are this class's

private:
    AccessLog& log_;
    WorkerCounters& counters_;
    std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    std::unique_ptr<std::string> error_;  // null: success
    unsigned worker_;
    CloseReason reason_ = CloseReason::drained;
    bool closed_ = false;
};

}
