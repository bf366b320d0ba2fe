// SPDX-License-Identifier: Apache-2.0
// What nghttp2 calls while it reads and frames. Nothing here lets a user destroy what nghttp2 still holds.
#include "session_callbacks.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <culvert/base/log.hpp>
#include <culvert/base/shortage.hpp>

#include "texts.hpp"

namespace culvert::hbone {
namespace {

using base::log::debug;

// Streams that ended while their user still holds them: a peer that opens and resets must not outrun us.
constexpr std::size_t late_users = 200;

constexpr std::size_t large = 16 * 1024;

// The pages inside: they come back, zeroed, when they are written.
void leave_empty(std::byte* piece, std::size_t size) noexcept {
    static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    auto begin = (reinterpret_cast<std::uintptr_t>(piece) + page - 1) / page * page;
    auto end = (reinterpret_cast<std::uintptr_t>(piece) + size) / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string_view text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
}

// No exception may travel through nghttp2's frames.
template <auto callback, int otherwise>
struct Caught;
template <class... Args, int (*callback)(Args...), int otherwise>
struct Caught<callback, otherwise> {
    static int call(Args... args) noexcept {
        int result = otherwise;
        base::shortage::guard("a stream", [&] { result = callback(args...); });
        return result;
    }
};

std::string debug_data(const nghttp2_goaway& goaway) {
    std::string words{text(goaway.opaque_data, std::min<std::size_t>(goaway.opaque_data_len, 64))};
    for (char& c : words)
        if (c < ' ' || c > '~') c = '?';
    return words.empty() ? words : " (" + words + ")";
}

}

// All that nghttp2 is told of a stream's bytes: that there are no more.
ssize_t Session::Callbacks::no_more(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t, std::uint32_t* flags,
                                    nghttp2_data_source*, void*) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return 0;
}

int Session::Callbacks::begin_headers(nghttp2_session* http2, const nghttp2_frame* frame, void* self) {
    auto& session = *static_cast<Session*>(self);
    if (session.role_ != Role::server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    std::int32_t id = frame->hd.stream_id;
    if (session.objects_ >= session.settings_.server_streams + late_users)
        return nghttp2_submit_rst_stream(http2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    StreamPtr stream{new Stream::Impl{session.shared_from_this()}};
    stream->asked = std::make_unique<Incoming::Impl>();
    nghttp2_session_set_stream_user_data(http2, id, stream.get());
    stream->open(id);
    return 0;
}

int Session::Callbacks::header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name_bytes,
                               std::size_t name_size, const std::uint8_t* value_bytes, std::size_t value_size,
                               std::uint8_t, void* self) {
    auto& session = *static_cast<Session*>(self);
    Stream::Impl* stream = session.stream_of(frame->hd.stream_id);
    if (!stream) return 0;
    std::string_view name = text(name_bytes, name_size), value = text(value_bytes, value_size);
    stream->header_bytes += static_cast<std::uint32_t>(name_size + value_size + 32);  // as MAX_HEADER_LIST_SIZE counts
    if (stream->header_bytes > session.header_limit()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (session.role_ == Role::client) {
        if (name == ":status") stream->status = static_cast<std::uint16_t>(std::atoi(std::string{value}.c_str()));
        return 0;
    }
    if (!stream->asked) return 0;  // trailers
    Request& request = stream->asked->request;
    if (name == ":method")
        stream->asked->method = value;
    else if (name == ":authority")
        request.authority = value;
    else if (name == "baggage")
        request.baggage = value;
    else if (name == "forwarded")
        request.forwarded = value;
    else if (name == "traceparent")
        request.traceparent = value;
    else if (name == "x-forwarded-network")
        request.network = value;
    return 0;
}

void Session::Callbacks::headers_done(Session& session, Stream::Impl& stream) {
    stream.may_receive = session.role_ == Role::server || stream.status >= 200;
    if (session.role_ == Role::client) {
        if (stream.answered && stream.status >= 200) stream.answered->set();
        if (stream.status == 200 && stream.first) session.ready(stream);
    } else if (stream.asked && !stream.asked->stream) {
        stream.asked->stream = &stream;
        session.touched(stream);
    }
}

void Session::Callbacks::settings(Session& session, const nghttp2_settings& said) {
    for (const auto& entry : std::span{said.iv, said.niv})
        if (entry.settings_id == setting_takes_first_bytes && session.role_ == Role::client)
            session.peer_takes_first_bytes_ = entry.value != 0;
    session.peer_settings_changed();
}

int Session::Callbacks::frame_received(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    auto& session = *static_cast<Session*>(self);
    Stream::Impl* stream = session.stream_of(frame->hd.stream_id);
    switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
            if (stream) headers_done(session, *stream);
            [[fallthrough]];
        case NGHTTP2_DATA:
            if (stream && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) stream->receive_end();
            return 0;
        case NGHTTP2_RST_STREAM:
            if (stream) stream->receive_reset(frame->rst_stream.error_code);
            return 0;
        case NGHTTP2_SETTINGS:
            if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) settings(session, frame->settings);
            return 0;
        case NGHTTP2_PING:
            if (frame->hd.flags & NGHTTP2_FLAG_ACK) session.pong(frame->ping.opaque_data);
            return 0;
        case NGHTTP2_GOAWAY:
            session.going_away_ = true;
            if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
                session.peer_goaway_ = std::string{"connection error received: "} +
                                       nghttp2_http2_strerror(frame->goaway.error_code) + debug_data(frame->goaway);
            return 0;
        default: return 0;
    }
}

int Session::Callbacks::frame_sent(nghttp2_session* http2, const nghttp2_frame* frame, void* self) {
    auto& session = *static_cast<Session*>(self);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
            if (!session.verdict_) session.verdict_ = h2_error(nghttp2_http2_strerror(frame->goaway.error_code));
            return 0;
        }
        // Only now: nghttp2 lets a PING overtake all but SETTINGS, and its answer is to say that this was heard.
        return session.said_goaway_ ? 0 : nghttp2_submit_ping(http2, NGHTTP2_FLAG_NONE, drain_payload);
    }
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Stream::Impl* stream = session.stream_of(frame->hd.stream_id);
    if (!stream) return 0;
    if (!stream->refused) {
        stream->may_send = true;
        if (stream->has_bytes()) session.ready(*stream);
        return 0;
    }
    // Only now: with the answer still queued, the RST would overtake it.
    if (stream->got_end) return 0;
    return nghttp2_submit_rst_stream(http2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

int Session::Callbacks::stream_closed(nghttp2_session* http2, std::int32_t id, std::uint32_t code, void* self) {
    Stream::Impl* stream = static_cast<Session*>(self)->stream_of(id);
    if (!stream) return 0;
    nghttp2_session_set_stream_user_data(http2, id, nullptr);
    stream->closed(code);
    return 0;
}

int Session::Callbacks::invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int error, void* self) {
    debug("hbone", "{} sent a frame of type {} that is wrong: {}", static_cast<Session*>(self)->info().peer.to_string(),
          frame->hd.type, nghttp2_strerror(error));
    return 0;
}

const nghttp2_session_callbacks* Session::Callbacks::all() {
    static const auto made = [] {
        nghttp2_session_callbacks* c = nullptr;
        CV_CHECK(nghttp2_session_callbacks_new(&c) == 0, "a small allocation at start succeeds");
        // A stream that cannot be made, or has no room for a header, is reset alone.
        constexpr int alone = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE, all_of_it = NGHTTP2_ERR_CALLBACK_FAILURE;
        nghttp2_session_callbacks_set_on_begin_headers_callback(c, Caught<begin_headers, alone>::call);
        nghttp2_session_callbacks_set_on_header_callback(c, Caught<header, alone>::call);
        nghttp2_session_callbacks_set_on_frame_recv_callback(c, Caught<frame_received, all_of_it>::call);
        nghttp2_session_callbacks_set_on_frame_send_callback(c, Caught<frame_sent, all_of_it>::call);
        nghttp2_session_callbacks_set_on_stream_close_callback(c, Caught<stream_closed, all_of_it>::call);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, Caught<invalid_frame, 0>::call);
        return c;
    }();
    return made;
}

void Session::prepare() {
    (void)Callbacks::all();
    (void)Callbacks::options();
    (void)tunnel_ended();
    (void)closed_by_peer();
    (void)peer_revoked();
}

// The C library's, but a large piece starts out without memory: a session has a buffer for frames of 16 KiB, and what
// it says is short.
nghttp2_mem* Session::Callbacks::memory() {
    static nghttp2_mem sparing{nullptr,
                               [](std::size_t size, void*) -> void* {
                                   void* made = std::malloc(size);
                                   if (made && size >= large) leave_empty(static_cast<std::byte*>(made), size);
                                   return made;
                               },
                               [](void* old, void*) { std::free(old); },
                               [](std::size_t count, std::size_t size, void*) { return std::calloc(count, size); },
                               [](void* old, std::size_t size, void*) { return std::realloc(old, size); }};
    return &sparing;
}

const nghttp2_option* Session::Callbacks::options() {
    static const auto made = [] {
        nghttp2_option* o = nullptr;
        CV_CHECK(nghttp2_option_new(&o) == 0, "a small allocation at start succeeds");
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_settings(o, 32);
        nghttp2_option_set_max_outbound_ack(o, 1000);
        nghttp2_option_set_max_send_header_block_length(o, 64 * 1024);
        // Peers are authenticated, and apps that hang up are normal: nghttp2's own 33 a second would end busy tunnels.
        nghttp2_option_set_stream_reset_rate_limit(o, 10'000, 2'000);
        return o;
    }();
    return made;
}

}
