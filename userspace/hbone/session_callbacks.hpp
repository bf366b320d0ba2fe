// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nghttp2/nghttp2.h>

#include "session.hpp"

namespace culvert::hbone {

// A server of ours says by this one that it takes DATA before it has answered a CONNECT. Of the range for experiments;
// whoever does not know it must ignore it (RFC 9113 section 6.5.2).
inline constexpr std::int32_t setting_takes_first_bytes = 0xf0c7;

// Its answer says that every stream the peer opened before it heard our first GOAWAY has arrived.
inline constexpr std::uint8_t drain_payload[8] = {'c', 'u', 'l', 'v', 'e', 'r', 't', '!'};

struct Session::Callbacks {
    static const nghttp2_session_callbacks* all();
    static const nghttp2_option* options();
    static nghttp2_mem* memory();

    static ssize_t no_more(nghttp2_session*, std::int32_t id, std::uint8_t* unused, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* source, void* self);
    static int begin_headers(nghttp2_session*, const nghttp2_frame*, void* self);
    static int header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                      const std::uint8_t* value, std::size_t value_size, std::uint8_t flags, void* self);
    static int frame_received(nghttp2_session*, const nghttp2_frame*, void* self);
    static int frame_sent(nghttp2_session*, const nghttp2_frame*, void* self);
    static int stream_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* self);
    static int invalid_frame(nghttp2_session*, const nghttp2_frame*, int error, void* self);

private:
    static void headers_done(Session& session, Stream::Impl& stream);
    static void settings(Session& session, const nghttp2_settings& said);
};

}
