// SPDX-License-Identifier: Apache-2.0
// Packets made by hand, and what a program of the guard says of them.
#pragma once
#include <doctest/doctest.h>

#include <time.h>

#include <string>

#include "programs.hpp"

namespace culvert::test {

using Bytes = std::string;

inline Bytes u16(unsigned value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
inline Bytes zeros(std::size_t count) {
    return Bytes(count, '\0');
}

inline constexpr unsigned syn = 0x02, syn_ack = 0x12, ack = 0x10;

inline Bytes tcp(unsigned flags) {
    return u16(40000) + u16(80) + zeros(8) + Bytes{'\x50', static_cast<char>(flags)} + zeros(6);
}

inline Bytes raw_ip(const char* ip, bool v4) {
    auto parsed = *base::IpAddress::parse(ip);
    Bytes bytes(reinterpret_cast<const char*>(parsed.bytes.data()), 16);
    return v4 ? bytes.substr(12) : bytes;
}

inline Bytes in_ipv4(const char* from, unsigned protocol, const Bytes& body, unsigned fragment = 0,
                     const Bytes& options = {}) {
    auto length = static_cast<unsigned>(20 + options.size());
    return Bytes{static_cast<char>(0x40 + length / 4), '\0'} + u16(length + static_cast<unsigned>(body.size())) +
           zeros(2) + u16(fragment) + Bytes{'\x40', static_cast<char>(protocol)} + zeros(2) + raw_ip(from, true) +
           raw_ip("10.0.0.9", true) + options + body;
}

inline Bytes in_ipv6(const char* from, unsigned next, const Bytes& body, const char* to = "fd00::9") {
    return Bytes{'\x60'} + zeros(3) + u16(static_cast<unsigned>(body.size())) + Bytes{static_cast<char>(next), '\x40'} +
           raw_ip(from, false) + raw_ip(to, false) + body;
}

inline Bytes extension(unsigned next, unsigned more_octets = 0) {
    return Bytes{static_cast<char>(next), static_cast<char>(more_octets)} + zeros(6 + more_octets * 8);
}

// A segment routing header: one more stop, and a packet to it is a packet to loopback.
inline Bytes route_to_loopback(unsigned next) {
    return Bytes{static_cast<char>(next), '\2', '\4', '\1'} + zeros(4) + raw_ip("::1", false);
}

inline Bytes fragment(unsigned next, unsigned offset) {
    return Bytes{static_cast<char>(next), '\0'} + u16(offset) + zeros(4);
}

inline Bytes ethernet(unsigned type, const Bytes& body) {
    return zeros(12) + u16(type) + body;
}
inline Bytes tagged(unsigned type, unsigned inner, const Bytes& body, unsigned tag = 5) {
    return zeros(12) + u16(type) + u16(tag) + u16(inner) + body;
}

// The packet as the program leaves it, if wanted.
inline int run(bpf_program* program, Bytes packet, unsigned mark = 0, Bytes* after = nullptr) {
    if (packet.size() < 15) packet.resize(15);
    Bytes out(packet.size() + 64, '\0');
    __sk_buff ctx{};
    ctx.mark = mark;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(), .data_out = out.data(),
                .data_size_in = static_cast<__u32>(packet.size()), .data_size_out = static_cast<__u32>(out.size()),
                .ctx_in = &ctx, .ctx_size_in = sizeof ctx);
    REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(program), &options) == 0);
    if (after) *after = out.substr(0, options.data_size_out);
    return static_cast<int>(options.retval);
}

// The Internet checksum's sum over the words, which is 0xffff where the checksum is right.
inline unsigned sum(const Bytes& words) {
    unsigned long total = 0;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2)
        total += static_cast<unsigned char>(words[i]) << 8 | static_cast<unsigned char>(words[i + 1]);
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return static_cast<unsigned>(total);
}
inline Bytes with_checksum(Bytes segment, const Bytes& addresses) {
    Bytes check = u16(0xffff & ~sum(addresses + u16(6) + u16(static_cast<unsigned>(segment.size())) + segment));
    return segment.replace(16, 2, check);
}

inline void note(bpf_map* map, const cv_note_key& key, __u64 age_ns = 0) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    cv_note value{};
    value.at_ns = static_cast<__u64>(now.tv_sec) * 1'000'000'000 + static_cast<__u64>(now.tv_nsec) - age_ns;
    value.kind = CV_NOTE_LEG;
    Programs::update(map, key, value);
}
inline cv_note_key tuple(cv_family family, const char* from, __u16 from_port, const char* to, __u16 to_port) {
    cv_note_key key{};
    key.netns_cookie = Programs::pod_netns;
    key.family = family;
    key.source_port = from_port;
    key.destination_port = to_port;
    Programs::write_ip(key.source_ip, from);
    Programs::write_ip(key.destination_ip, to);
    return key;
}

inline constexpr unsigned ip4 = 0x0800, ip6 = 0x86dd;
inline constexpr const char *pod4 = "10.0.0.7", *pod6 = "fd00::7";

}
