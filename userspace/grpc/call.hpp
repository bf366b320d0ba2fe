// SPDX-License-Identifier: Apache-2.0
// One call, as its connection sees it: what is to be sent, and what came.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/grpc/status.hpp>

#include "framing.hpp"

namespace culvert::grpc {

class Call {
public:
    struct Events {
        std::function<void()> on_open;
        std::function<void(std::string)> on_message;
        std::function<void(const Status&)> on_end;
    };
    using Deadline = std::optional<std::chrono::steady_clock::time_point>;

    Call(std::string method, Deadline deadline, std::size_t most_bytes, Events events);

    // For the owner. Nothing is called any more after forget().
    void send(std::string_view message) { outgoing_ += framed(message); }
    void half_close() noexcept { half_closed_ = true; }
    void forget() noexcept { events_ = {}; }
    bool ended() const noexcept { return end_.has_value(); }

    // For the session.
    const std::string& method() const noexcept { return method_; }
    const Deadline& deadline() const noexcept { return deadline_; }
    std::size_t take_outgoing(char* into, std::size_t most);
    bool nothing_more_to_send() const noexcept { return half_closed_ && outgoing_.size() == sent_; }
    void header(std::string_view name, std::string_view value);
    void head_complete();               // may end the call
    void data(std::string_view bytes);  // may end the call
    // `farewell`: of a GOAWAY that came before.
    void stream_ended(std::uint32_t h2_error, const std::string& farewell);
    void end(Status status);  // the first one counts

    void opened();
    // Tells the owner what came. True when the call has ended and all is told.
    bool deliver();

    std::int32_t id = -1;      // on its connection
    bool left = false;         // its head is on the way
    bool unprocessed = false;  // the server has never looked at it: safe to send again

private:
    void end_by_trailers(const std::string& farewell);
    std::string no_grpc() const;

    const std::string method_;
    const Deadline deadline_;
    Events events_;
    std::string outgoing_;
    std::size_t sent_ = 0;
    bool half_closed_ = false;

    int http_status_ = 0;
    std::string content_type_;
    std::optional<Code> code_;
    std::string message_;
    bool answered_ = false;
    Unframer unframer_;
    std::vector<std::string> arrived_;
    std::optional<Status> end_;
    bool told_ = false;
};

}
