// SPDX-License-Identifier: Apache-2.0
// The numbers of the HBONE wire, ztunnel's, and our own limits.
#pragma once
#include <chrono>
#include <cstdint>

namespace culvert::hbone {

struct Settings {
    std::uint32_t stream_window = 4u << 20;
    std::uint32_t connection_window = 16u << 20;  // 4x the stream's, or streams deadlock each other
    std::uint32_t max_frame = 1u << 20;           // advertised; what we send is at most 64 KiB
    std::uint32_t client_header_list = 16u << 10;
    std::uint32_t server_header_list = 64u << 10;
    std::uint32_t server_streams = 200;
    // Per pooled connection, if the peer allows as many. A tunnel's TLS and HTTP/2 state is some 50 KB on each side.
    std::uint32_t pool_streams = 200;
    // Streams whose readers stall use up a tunnel's window, and with it everybody's: then new streams get another
    // tunnel, up to so many per peer.
    std::uint32_t pool_tunnels_when_crowded = 4;
    // Frames of a peer that carry nothing (PING, SETTINGS, empty DATA, WINDOW_UPDATE that nothing of ours called
    // for...), on one tunnel; saved up for ten seconds. Then the tunnel ends.
    std::uint32_t control_frames_per_second = 1000;
    // To one server: tunnels, and those of one source.
    std::uint32_t server_tunnels = 8192;
    std::uint32_t server_tunnels_of_one = 1024;
    // To one peer: a peer may allow few streams on each.
    std::uint32_t pool_tunnels = 256;
    std::chrono::milliseconds handshake{10'000};  // TLS and the peer's SETTINGS
    std::chrono::milliseconds connect{10'000};    // TCP to the peer
    std::chrono::milliseconds answer{20'000};     // CONNECT to its answer; the peer may dial for 10 s
    // An answer that is long in coming: a peer that says nothing at all for so long is asked for a sign of life, and
    // until one comes new streams take another tunnel.
    std::chrono::milliseconds doubt{1'000};
    std::chrono::milliseconds ping_interval{10'000};
    std::chrono::milliseconds ping_timeout{20'000};
    std::chrono::milliseconds pool_idle{300'000};
};

}
