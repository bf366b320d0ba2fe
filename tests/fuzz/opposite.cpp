// SPDX-License-Identifier: Apache-2.0
#include "opposite.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "require.hpp"

namespace fuzz {
namespace {

nghttp2_nv header(const char* name, const char* value) {
    auto bytes = [](const char* text) { return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text)); };
    return {bytes(name), bytes(value), std::string_view{name}.size(), std::string_view{value}.size(),
            NGHTTP2_NV_FLAG_NONE};
}

}

struct Opposite::Calls {
    static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
        static_cast<Opposite*>(self)->streams_[frame->hd.stream_id];
        return 0;
    }
    static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t, void* self) {
        static_cast<Opposite*>(self)->streams_.erase(id);
        return 0;
    }
    static int invalid(nghttp2_session*, const nghttp2_frame* frame, int error, void*) {
        // Asked for before we had heard how many streams it takes.
        if (error == NGHTTP2_ERR_REFUSED_STREAM) return 0;
        require(false,
                "nghttp2 takes our frame of type " + std::to_string(frame->hd.type) + ": " + nghttp2_strerror(error));
        return 0;
    }
    static int sent(nghttp2_session*, const nghttp2_frame* frame, void* self) {
        if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
            require(static_cast<Opposite*>(self)->says_errors_,
                    std::string{"nghttp2 has no complaint: "} + nghttp2_http2_strerror(frame->goaway.error_code));
        return 0;
    }
    static ssize_t body(nghttp2_session*, std::int32_t id, std::uint8_t* room, std::size_t size, std::uint32_t* flags,
                        nghttp2_data_source*, void* self) {
        auto& streams = static_cast<Opposite*>(self)->streams_;
        Body& body = streams[id];
        std::size_t here = std::min(size, body.left);
        std::fill_n(room, here, 'd');
        body.left -= here;
        if (body.left > 0) return static_cast<ssize_t>(here);
        if (here == 0 && !body.ends) return NGHTTP2_ERR_DEFERRED;
        if (body.ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(here);
    }
};

Opposite::Opposite(bool is_client) : is_client_{is_client} {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, Calls::begin_headers);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, Calls::stream_closed);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(calls, Calls::invalid);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, Calls::sent);
    if (is_client)
        nghttp2_session_client_new(&session_, calls, this);
    else
        nghttp2_session_server_new(&session_, calls, this);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
}

Opposite::~Opposite() {
    nghttp2_session_del(session_);
}

std::int32_t Opposite::some_stream(Input& input) const {
    std::uint32_t which = input.number(1);
    if (streams_.empty()) return -1;
    return std::next(streams_.begin(), which % static_cast<std::uint32_t>(streams_.size()))->first;
}

void Opposite::submit_body(std::int32_t stream, Input& input) {
    std::size_t size = input.number(2);
    bool ends = input.number(1) & 1;
    if (stream <= 0) return;
    Body& body = streams_[stream];
    body.left += size;
    body.ends = body.ends || ends;
    nghttp2_data_provider provider{{}, Calls::body};
    if (nghttp2_submit_data(session_, NGHTTP2_FLAG_END_STREAM, stream, &provider) == NGHTTP2_ERR_DATA_EXIST)
        nghttp2_session_resume_data(session_, stream);
}

void Opposite::act(std::uint32_t what, Input& input) {
    switch (what) {
        case 0:
        case 1: {
            if (!is_client_) {
                std::int32_t stream = some_stream(input);
                static const char* statuses[] = {"200", "200", "503", "401", "100"};
                nghttp2_nv status = header(":status", statuses[input.number(1) % 5]);
                if (stream > 0)
                    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream, nullptr, &status, 1, nullptr);
                return;
            }
            nghttp2_nv request[] = {header(":method", "CONNECT"), header(":authority", "10.0.0.7:8080"),
                                    header("baggage", "k8s.namespace.name=test")};
            std::int32_t id = nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, -1, nullptr, request, 3, nullptr);
            if (id > 0) streams_[id];
            return;
        }
        case 2:
        case 9:
        case 10: return submit_body(some_stream(input), input);
        case 3: {
            std::int32_t stream = some_stream(input);
            auto increment = static_cast<std::int32_t>(input.number(2));
            if (increment > 0)
                nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, increment % 2 || stream < 0 ? 0 : stream,
                                             increment);
            return;
        }
        case 4: {
            nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, input.number(3)},
                                                {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16'384 + input.number(2)},
                                                {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, input.number(2)},
                                                {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, input.number(1)}};
            nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries, 1 + input.number(1) % 4);
            return;
        }
        case 6: {
            std::int32_t stream = some_stream(input);
            std::uint32_t code = input.number(1) % 14;
            if (stream > 0) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, code);
            return;
        }
        case 7: nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); return;
        case 8: {
            std::uint32_t code = input.number(1) % 14;
            says_errors_ = true;
            nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), code,
                                  nullptr, 0);
            return;
        }
        default: return;
    }
}

void Opposite::hear(std::span<const std::byte> words) {
    auto n = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(words.data()), words.size());
    require(n >= 0, std::string{"nghttp2 takes what we send: "} + nghttp2_strerror(static_cast<int>(n)));
}

std::string Opposite::to_say() {
    std::string words;
    for (;;) {
        const std::uint8_t* bytes = nullptr;
        auto n = nghttp2_session_mem_send(session_, &bytes);
        if (n <= 0) return words;
        words.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
    }
}

}
