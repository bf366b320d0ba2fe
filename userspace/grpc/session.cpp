// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <fmt/format.h>

#include <utility>

namespace culvert::grpc {

namespace {

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
}

std::uint8_t* bytes_of(const std::string& text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // nghttp2 copies, and does not write
}

nghttp2_nv pair_of(const Header& header) {
    const std::uint8_t flags = header.secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    return {bytes_of(header.name), bytes_of(header.value), header.name.size(), header.value.size(), flags};
}

}

// What nghttp2 calls while it reads and frames.
struct Session::Callbacks {
    static Session& of(void* self) { return *static_cast<Session*>(self); }

    static Call* call_of(nghttp2_session* http2, std::int32_t stream) {
        return static_cast<Call*>(nghttp2_session_get_stream_user_data(http2, stream));
    }

    static ssize_t send(nghttp2_session* http2, std::int32_t stream, std::uint8_t* into, std::size_t most,
                        std::uint32_t* flags, nghttp2_data_source*, void*) {
        Call* call = call_of(http2, stream);
        if (!call) return NGHTTP2_ERR_DEFERRED;  // it has ended, and its reset leaves before any data
        const std::size_t n = call->take_outgoing(reinterpret_cast<char*>(into), most);
        if (call->nothing_more_to_send())
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        else if (n == 0)
            return NGHTTP2_ERR_DEFERRED;
        return static_cast<ssize_t>(n);
    }

    static int header(nghttp2_session* http2, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void*) {
        if (Call* call = call_of(http2, frame->hd.stream_id))
            call->header(text_of(name, name_size), text_of(value, value_size));
        return 0;
    }

    static int data(nghttp2_session* http2, std::uint8_t, std::int32_t stream, const std::uint8_t* bytes,
                    std::size_t size, void* self) {
        Call* call = call_of(http2, stream);
        if (!call) return 0;
        call->data(text_of(bytes, size));
        if (call->ended()) of(self).ended(*call, false);
        return 0;
    }

    static int frame_received(nghttp2_session* http2, const nghttp2_frame* frame, void* self) {
        Session& session = of(self);
        if (frame->hd.type == NGHTTP2_GOAWAY) {
            session.going_ = true;
            session.farewell_ = nghttp2_http2_strerror(frame->goaway.error_code);
            const std::string_view words = text_of(frame->goaway.opaque_data, frame->goaway.opaque_data_len);
            if (!words.empty()) session.farewell_ += fmt::format(" ({})", words.substr(0, 256));
            return 0;
        }
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
        Call* call = call_of(http2, frame->hd.stream_id);
        if (!call) return 0;
        if (frame->hd.type == NGHTTP2_HEADERS) call->head_complete();
        const bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        if (last) call->stream_ended(NGHTTP2_NO_ERROR, session.farewell_);
        if (call->ended()) session.ended(*call, last);
        return 0;
    }

    static int frame_sent(nghttp2_session* http2, const nghttp2_frame* frame, void*) {
        if (frame->hd.type != NGHTTP2_HEADERS) return 0;
        if (Call* call = call_of(http2, frame->hd.stream_id)) call->left = true;
        return 0;
    }

    static int stream_closed(nghttp2_session* http2, std::int32_t stream, std::uint32_t code, void* self) {
        Call* call = call_of(http2, stream);
        if (!call) return 0;
        nghttp2_session_set_stream_user_data(http2, stream, nullptr);
        call->unprocessed = code == NGHTTP2_REFUSED_STREAM;
        call->stream_ended(code, of(self).farewell_);
        return 0;
    }

    // Of a request that never left: the server said GOAWAY before.
    static int not_sent(nghttp2_session* http2, const nghttp2_frame* frame, int, void* self) {
        if (frame->hd.type != NGHTTP2_HEADERS) return 0;
        if (Call* call = call_of(http2, frame->hd.stream_id)) {
            call->unprocessed = true;
            call->stream_ended(NGHTTP2_REFUSED_STREAM, of(self).farewell_);
        }
        return 0;
    }

    static nghttp2_session* make(Session* self) {
        nghttp2_session_callbacks* callbacks = nullptr;
        nghttp2_option* options = nullptr;
        nghttp2_session* made = nullptr;
        CV_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0,
                 "small allocations succeed");
        nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, not_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
        nghttp2_option_set_no_closed_streams(options, 1);
        CV_CHECK(nghttp2_session_client_new2(&made, callbacks, self, options) == 0, "small allocations succeed");
        nghttp2_option_del(options);
        nghttp2_session_callbacks_del(callbacks);
        return made;
    }
};

Session::Session(std::int32_t window_bytes) : http2_{Callbacks::make(this)} {
    const auto window = static_cast<std::uint32_t>(window_bytes);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 * 1024}};
    nghttp2_submit_settings(http2_.get(), NGHTTP2_FLAG_NONE, settings, std::size(settings));
    nghttp2_session_set_local_window_size(http2_.get(), NGHTTP2_FLAG_NONE, 0, window_bytes);
}

void Session::start(std::shared_ptr<Call> call, const std::vector<Header>& head) {
    std::vector<nghttp2_nv> pairs;
    pairs.reserve(head.size());
    for (const Header& header : head) pairs.push_back(pair_of(header));
    nghttp2_data_provider provider{{.ptr = nullptr}, Callbacks::send};
    const std::int32_t id =
        nghttp2_submit_request(http2_.get(), nullptr, pairs.data(), pairs.size(), &provider, call.get());
    if (id < 0) {
        going_ = true;  // its numbers are used up
        call->unprocessed = true;
        call->end({Code::unavailable, nghttp2_strerror(id), Origin::connection});
        call->deliver();
        return;
    }
    call->id = id;
    calls_.emplace(id, std::move(call));
}

void Session::resume(Call& call) {
    if (call.id > 0) nghttp2_session_resume_data(http2_.get(), call.id);
}

// The call stays with us until deliver(); its stream hears no more of it.
void Session::ended(Call& call, bool server_said_all) {
    nghttp2_session_set_stream_user_data(http2_.get(), call.id, nullptr);
    if (server_said_all && nghttp2_session_get_stream_local_close(http2_.get(), call.id) == 1) return;
    nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, call.id, NGHTTP2_CANCEL);
}

void Session::end(Call& call, Status status) {
    if (call.ended()) return;
    call.end(std::move(status));
    if (call.id > 0) ended(call, false);
}

void Session::ping() {
    nghttp2_submit_ping(http2_.get(), NGHTTP2_FLAG_NONE, nullptr);
}

void Session::say_goodbye() {
    going_ = true;
    nghttp2_session_terminate_session(http2_.get(), NGHTTP2_NO_ERROR);
}

base::Result<> Session::receive(std::span<const std::uint8_t> bytes) {
    const ssize_t n = nghttp2_session_mem_recv(http2_.get(), bytes.data(), bytes.size());
    if (n < 0)
        return base::problem(
            fmt::format("what the server says is no HTTP/2: {}", nghttp2_strerror(static_cast<int>(n))));
    return {};
}

base::Result<std::string_view> Session::output() {
    const std::uint8_t* bytes = nullptr;
    const ssize_t n = nghttp2_session_mem_send(http2_.get(), &bytes);
    if (n < 0) return base::problem(fmt::format("HTTP/2: {}", nghttp2_strerror(static_cast<int>(n))));
    return text_of(bytes, static_cast<std::size_t>(n));
}

bool Session::over() const noexcept {
    return nghttp2_session_want_read(http2_.get()) == 0 && nghttp2_session_want_write(http2_.get()) == 0;
}

void Session::deliver() {
    std::vector<std::shared_ptr<Call>> all;
    all.reserve(calls_.size());
    for (const auto& [id, call] : calls_) all.push_back(call);
    for (const auto& call : all)
        if (call->deliver()) calls_.erase(call->id);
}

void Session::end_all(const Status& status) {
    for (const auto& [id, call] : calls_) {
        if (!call->left) call->unprocessed = true;
        call->end(status);
    }
    deliver();
}

}
