// SPDX-License-Identifier: Apache-2.0
// What streams ask of their session.
#include "batch.hpp"
#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

// nghttp2 copies both.
nghttp2_nv pair(std::string_view name, std::string_view value) {
    auto bytes = [](std::string_view s) {
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(s.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}

base::Result<std::shared_ptr<Stream::Impl>> Session::request(const Request& request) {
    nghttp2_nv headers[5];
    std::size_t count = 0;
    headers[count++] = pair(":method", "CONNECT");
    headers[count++] = pair(":authority", request.authority);
    if (!request.baggage.empty()) headers[count++] = pair("baggage", request.baggage);
    if (!request.forwarded.empty()) headers[count++] = pair("forwarded", request.forwarded);
    if (!request.traceparent.empty()) headers[count++] = pair("traceparent", request.traceparent);

    auto stream = std::make_shared<Stream::Impl>(shared_from_this());
    nghttp2_data_provider body{{.ptr = stream.get()}, Callbacks::may_send};
    std::int32_t id = nghttp2_submit_request(http2_.get(), nullptr, headers, count, &body, stream.get());
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
    nghttp2_data_provider body{{.ptr = &stream}, Callbacks::may_send};
    stream.refused = status != 200;
    nghttp2_submit_response(http2_.get(), stream.id, headers, count, stream.refused ? nullptr : &body);
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
    nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, stream.id, code);
    mark();
}

}
