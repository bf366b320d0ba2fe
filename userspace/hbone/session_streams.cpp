// SPDX-License-Identifier: Apache-2.0
// What streams ask of their session.
#include "batch.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// Of this connection alone: in the table of what was said before, it would only push others out.
constexpr std::uint8_t unique = NGHTTP2_NV_FLAG_NO_INDEX;

// nghttp2 copies both.
nghttp2_nv pair(std::string_view name, std::string_view value, std::uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
    auto bytes = [](std::string_view s) {
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(s.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), flags};
}

}

base::Result<StreamPtr> Session::request(const Request& request, std::span<const std::byte> first) {
    nghttp2_nv headers[5];
    std::size_t count = 0;
    headers[count++] = pair(":method", "CONNECT");
    headers[count++] = pair(":authority", request.authority);
    if (!request.baggage.empty()) headers[count++] = pair("baggage", request.baggage);
    if (!request.forwarded.empty()) headers[count++] = pair("forwarded", request.forwarded, unique);
    if (!request.traceparent.empty()) headers[count++] = pair("traceparent", request.traceparent, unique);

    StreamPtr stream{new Stream::Impl{shared_from_this()}};
    if (!first.empty()) stream->first = std::make_unique<std::vector<std::byte>>(first.begin(), first.end());
    // No body as far as nghttp2 knows: it would keep an item for it as long as the stream lives.
    std::int32_t id =
        nghttp2_submit_headers(http2_.get(), NGHTTP2_FLAG_NONE, -1, nullptr, headers, count, stream.get());
    if (id < 0) return h2_error(nghttp2_strerror(id));
    stream->open(id);
    idle_.cancel();
    mark();
    return stream;
}

void Session::respond(Stream::Impl& stream, int status, const std::string& baggage) {
    if (state_ != State::open || stream.over) return;
    std::string code = std::to_string(status);
    nghttp2_nv headers[] = {pair(":status", code), pair("baggage", baggage)};
    std::size_t count = baggage.empty() ? 1 : 2;
    stream.refused = status != 200;
    std::uint8_t flags = stream.refused ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    check(nghttp2_submit_headers(http2_.get(), flags, stream.id, nullptr, headers, count, nullptr));
    mark();
}

void Session::stream_opened(Stream::Impl& stream) {
    ++streams_;
    open_.push_back(stream);
}

void Session::ready(Stream::Impl& stream) {
    if (state_ != State::open) return;
    if (!stream.in_ready.is_linked()) ready_.push_back(stream);
    mark();
}

void Session::touched(Stream::Impl& stream) {
    if (!stream.in_touched.is_linked()) touched_.push_back(stream);
}

void Session::reset(Stream::Impl& stream, std::uint32_t code) {
    if (state_ != State::open) return;
    check(nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, stream.id, code));
    mark();
}

}
