// SPDX-License-Identifier: Apache-2.0
// What a connection leaves behind: exactly one access log line and one metric, however it ends.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <culvert/base/loop.hpp>
#include <culvert/telemetry/access_log.hpp>
#include <culvert/telemetry/close_reason.hpp>
#include <culvert/telemetry/counters.hpp>
#include <culvert/telemetry/trace.hpp>
#include <culvert/telemetry/traffic.hpp>

namespace culvert::telemetry {

struct Recorder;

// Made when a connection is accepted; its destructor writes the line and counts the reason, also when the task that
// holds it is destroyed where it waits: that connection was drained.
// Lives on: one worker. Borrows: what its records have in common.
class ConnectionRecord : public base::AutoListHook {
public:
    using Clock = std::chrono::steady_clock;
    ConnectionRecord(Recorder& recorder, Direction direction, const base::SocketAddress& source,
                     const base::SocketAddress& destination);
    ~ConnectionRecord();
    ConnectionRecord(const ConnectionRecord&) = delete;
    ConnectionRecord& operator=(const ConnectionRecord&) = delete;

    // Who speaks to whom is known and in `entry`, and stays as it is: the line will say "connection complete" with
    // every field, and the connection is in its series. What ends before this is in none.
    void context_known() noexcept;

    // Bytes that our pod's app sent, and that it got.
    void sent(std::uint64_t bytes) noexcept { entry.bytes_sent += bytes; }
    void received(std::uint64_t bytes) noexcept { entry.bytes_received += bytes; }
    WorkerCounters& counters() noexcept;
    const Trace* trace() const noexcept;  // null as a rule: nobody asks
    Clock::time_point began() const noexcept { return began_; }

    // How it ended. The first word stands: what comes after it is a consequence.
    // A reason other than ok without a text gets the reason's own sentence.
    void close(CloseReason reason, std::string error = {});
    bool closed() const noexcept { return closed_; }
    // Counted, but without a line.
    void leave_out_of_log() noexcept { logged_ = false; }

    OpenEntry entry;  // to be filled in; bytes are this class's

private:
    friend struct Recorder;
    void leave_look() noexcept;
    void tell_end() noexcept;

    Recorder& recorder_;
    Clock::time_point began_ = Clock::now();
    std::unique_ptr<std::string> error_;  // null: success
    Traffic::Series* series_ = nullptr;
    CloseReason reason_ = CloseReason::drained;
    bool closed_ = false;
    bool logged_ = true;
    std::uint32_t look_ = 0;  // in which of the recorder's it was looked at last
};

// What the records of one worker have in common, and those that live.
struct Recorder {
    AccessLog& log;
    unsigned worker;
    WorkerCounters& counters;
    base::intrusive::list<ConnectionRecord, base::intrusive::constant_time_size<false>> live = {};  // oldest first
    TracePtr trace = {};
    Traffic traffic = {};

    // What is new since this was asked last takes a look at every open connection. Bytes wait meanwhile, so a look is
    // taken in parts; whatever opens, moves or ends in between is counted once, in this one or in the next.
    struct Look {
        std::uint32_t number = 0;
        ConnectionRecord* next = nullptr;  // null: none is under way
        TrafficReport report;
    };
    Look look = {};
    void begin_look();
    bool look_on(std::size_t most);  // true: there is more to look at
    TrafficReport end_look();
};

inline WorkerCounters& ConnectionRecord::counters() noexcept {
    return recorder_.counters;
}
inline const Trace* ConnectionRecord::trace() const noexcept {
    return recorder_.trace.get();
}

}
