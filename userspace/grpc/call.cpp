// SPDX-License-Identifier: Apache-2.0
#include "call.hpp"

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "words.hpp"

namespace culvert::grpc {

namespace {

// In the words of grpc-go, which people look for.
std::string with(const std::string& farewell, std::string text) {
    return farewell.empty() ? text : fmt::format("{}; received prior goaway: {}", text, farewell);
}

}

Call::Call(std::string method, Deadline deadline, std::size_t most_bytes, Events events)
    : method_{std::move(method)}, deadline_{deadline}, events_{std::move(events)}, unframer_{most_bytes} {}

std::size_t Call::take_outgoing(char* into, std::size_t most) {
    const std::size_t n = std::min(most, outgoing_.size() - sent_);
    std::copy_n(outgoing_.data() + sent_, n, into);
    sent_ += n;
    if (sent_ == outgoing_.size()) {
        outgoing_ = {};  // with its memory: the first message after a reconnect is large
        sent_ = 0;
    }
    return n;
}

void Call::header(std::string_view name, std::string_view value) {
    if (name == ":status") {
        http_status_ = 0;
        std::from_chars(value.data(), value.data() + value.size(), http_status_);
    } else if (name == "content-type") {
        content_type_ = value;
    } else if (name == "grpc-status") {
        code_ = parse_code(value).value_or(Code::unknown);
    } else if (name == "grpc-message") {
        message_ = percent_decoded(value);
    }
}

std::string Call::no_grpc() const {
    return fmt::format("the answer is HTTP {}, {}, which is no gRPC: is this address the right one?", http_status_,
                       content_type_.empty() ? "without a content type" : content_type_);
}

void Call::head_complete() {
    if (code_ || (http_status_ >= 100 && http_status_ < 200)) return;
    if (http_status_ != 200)
        end({code_of_http(http_status_), no_grpc(), Origin::server});
    else if (!content_type_.starts_with("application/grpc"))
        end({Code::unknown, no_grpc(), Origin::connection});
    else
        answered_ = true;
}

void Call::data(std::string_view bytes) {
    if (end_) return;
    if (auto why = unframer_.take(bytes, arrived_)) end(std::move(*why));
}

void Call::stream_ended(std::uint32_t h2_error, const std::string& farewell) {
    if (code_ || h2_error == NGHTTP2_NO_ERROR) return end_by_trailers(farewell);
    end({code_of_reset(h2_error),
         with(farewell, fmt::format("the server reset the stream: {}", nghttp2_http2_strerror(h2_error))),
         Origin::server});
}

void Call::end_by_trailers(const std::string& farewell) {
    if (!code_) return end({Code::unknown, "the answer ended without a grpc-status", Origin::connection});
    if (*code_ == Code::ok && unframer_.in_a_message())
        return end({Code::internal, "the answer ended in the middle of a message", Origin::connection});
    end({*code_, *code_ == Code::ok ? message_ : with(farewell, message_), Origin::server});
}

void Call::end(Status status) {
    if (end_) return;
    status.answered = answered_;
    end_ = std::move(status);
}

void Call::opened() {
    // Copies: a callback may make us forget them.
    if (auto on_open = events_.on_open) on_open();
}

bool Call::deliver() {
    auto arrived = std::exchange(arrived_, {});
    for (std::string& message : arrived)
        if (auto on_message = events_.on_message) on_message(std::move(message));
    if (!end_ || told_) return end_.has_value();
    told_ = true;
    if (auto on_end = std::exchange(events_, {}).on_end) on_end(*end_);
    return true;
}

}
