// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/connection_record.hpp>

#include <exception>
#include <iterator>

#include <culvert/base/shortage.hpp>

namespace culvert::telemetry {
namespace {

std::int64_t unix_now_ns() {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}

ConnectionRecord::ConnectionRecord(Recorder& recorder, Direction direction, const base::SocketAddress& source,
                                   const base::SocketAddress& destination)
    : recorder_{recorder} {
    entry.early = true;
    entry.direction = direction;
    entry.source = source;
    entry.destination = destination;
    recorder_.counters.connections_open.add();
    recorder_.live.push_back(*this);
}

void ConnectionRecord::context_known() noexcept {
    entry.early = false;
    if (!series_) series_ = recorder_.traffic.opened(entry);
}

void ConnectionRecord::close(CloseReason reason, std::string error) {
    if (closed_) return;
    closed_ = true;
    reason_ = reason;
    base::shortage::guard("the reason of an end", [&] {
        if (reason != CloseReason::ok && error.empty()) error = description(reason);
        if (!error.empty()) error_ = std::make_unique<std::string>(std::move(error));
    });
}

void ConnectionRecord::leave_look() noexcept {
    auto& look = recorder_.look;
    if (series_)
        recorder_.traffic.closed(*series_, entry, response_flag(reason_, error_ ? std::string_view{*error_} : ""),
                                 look.next && look_ == look.number);
    if (look.next != this) return;
    auto after = std::next(recorder_.live.iterator_to(*this));
    look.next = after == recorder_.live.end() ? nullptr : &*after;
}

void ConnectionRecord::tell_end() noexcept {
    auto event = trace()->event(TraceEvent::What::end, entry);
    if (!event) return;
    event->good = reason_ == CloseReason::ok;
    event->reason = reason_;
    event->bytes_sent = entry.bytes_sent;
    event->bytes_received = entry.bytes_received;
    event->duration = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_);
    base::shortage::guard("a traced event", [&] {
        if (error_) event->text = *error_;
    });
    trace()->tell(std::move(event));
}

ConnectionRecord::~ConnectionRecord() {
    if (!closed_ && std::uncaught_exceptions() > 0) close(CloseReason::over_limit, "out of memory");
    if (!closed_)
        base::shortage::guard("the reason of an end",
                              [this] { close(CloseReason::drained, "connection closed due to connection drain"); });
    recorder_.counters.connections_open.sub();
    recorder_.counters.closed[static_cast<std::size_t>(reason_)].add();
    leave_look();
    if (trace()) [[unlikely]]
        tell_end();
    if (!logged_) return;
    AccessEntry line{std::move(entry), unix_now_ns()};
    line.duration = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_);
    if (error_) line.error = std::move(*error_);
    recorder_.log.submit(recorder_.worker, std::move(line));
}

void Recorder::begin_look() {
    ++look.number;
    look.report = {};
    look.next = live.empty() ? nullptr : &live.front();
}

bool Recorder::look_on(std::size_t most) {
    for (; look.next && most > 0; --most) {
        ConnectionRecord& record = *look.next;
        record.look_ = look.number;
        if (record.series_) traffic.look_at(*record.series_, record.entry);
        if (record.entry.direction == Direction::outbound)
            ++look.report.outbound;
        else if (!record.entry.mutual_tls)
            ++look.report.inbound_plain;
        auto after = std::next(live.iterator_to(record));
        look.next = after == live.end() ? nullptr : &*after;
    }
    return look.next != nullptr;
}

TrafficReport Recorder::end_look() {
    look.report.series = traffic.take();
    return std::move(look.report);
}

}
