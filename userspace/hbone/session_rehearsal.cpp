// SPDX-License-Identifier: Apache-2.0
// nghttp2's own functions, and the C library's, are bound when it first calls them, unlike ours; the dynamic loader
// then looks through the symbol tables of every library.
#include <culvert/hbone/rehearsal.hpp>

#include <memory>

#include "session_callbacks.hpp"
#include "texts.hpp"

namespace culvert::hbone {
namespace {

struct FreeSession {
    void operator()(nghttp2_session* session) const noexcept { nghttp2_session_del(session); }
};
using End = std::unique_ptr<nghttp2_session, FreeSession>;

struct FreeCallbacks {
    void operator()(nghttp2_session_callbacks* callbacks) const noexcept { nghttp2_session_callbacks_del(callbacks); }
};

template <std::size_t N>
nghttp2_nv pair(const char (&name)[N], std::string_view value) {
    auto bytes = [](const char* text) {
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text));
    };
    return {bytes(name), bytes(value.data()), N - 1, value.size(), NGHTTP2_NV_FLAG_NONE};
}

// nghttp2's answers: a count, or an error below zero.
base::Result<> check(ssize_t answer) {
    if (answer < 0) return h2_error(nghttp2_strerror(static_cast<int>(answer)));
    return {};
}

// All that one end has to say.
base::Result<> speak(const End& from, const End& to) {
    const std::uint8_t* said = nullptr;
    for (;;) {
        const ssize_t size = nghttp2_session_mem_send(from.get(), &said);
        if (size <= 0) return check(size);
        if (auto heard = check(nghttp2_session_mem_recv(to.get(), said, static_cast<std::size_t>(size))); !heard)
            return heard;
    }
}

base::Result<> greet(const End& end) {
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 64 * 1024}};
    if (auto said = check(nghttp2_submit_settings(end.get(), NGHTTP2_FLAG_NONE, settings, 1)); !said) return said;
    return check(nghttp2_session_set_local_window_size(end.get(), NGHTTP2_FLAG_NONE, 0, 1024 * 1024));
}

base::Result<> connect(const End& client, const End& server) {
    const nghttp2_nv request[] = {pair(":method", "CONNECT"), pair(":authority", "10.0.0.1:80"),
                                  pair("baggage", "a=b")};
    const std::int32_t id =
        nghttp2_submit_headers(client.get(), NGHTTP2_FLAG_NONE, -1, nullptr, request, std::size(request), nullptr);
    if (auto said = check(id); !said) return said;
    if (auto heard = speak(client, server); !heard) return heard;
    const nghttp2_nv answer[] = {pair(":status", "200")};
    if (auto said = check(nghttp2_submit_headers(server.get(), NGHTTP2_FLAG_NONE, id, nullptr, answer, 1, nullptr));
        !said)
        return said;
    if (auto heard = speak(server, client); !heard) return heard;
    if (!nghttp2_session_find_stream(server.get(), id)) return base::problem("the request did not arrive");
    if (auto said = check(nghttp2_submit_rst_stream(client.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR)); !said)
        return said;
    return speak(client, server);
}

}

base::Result<> rehearse() {
    nghttp2_session_callbacks* made = nullptr;
    if (auto done = check(nghttp2_session_callbacks_new(&made)); !done) return done;
    const std::unique_ptr<nghttp2_session_callbacks, FreeCallbacks> callbacks{made};
    nghttp2_session* ends[2] = {};
    auto one = check(nghttp2_session_client_new(&ends[0], made, nullptr));
    auto two = check(nghttp2_session_server_new(&ends[1], made, nullptr));
    const End client{ends[0]}, server{ends[1]};
    if (!one || !two) return one ? two : one;
    for (const End* end : {&client, &server})
        if (auto done = greet(*end); !done) return done;
    if (auto heard = speak(client, server); !heard) return heard;
    if (auto heard = speak(server, client); !heard) return heard;
    return connect(client, server);
}

}
