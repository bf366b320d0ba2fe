// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <linux/pkt_cls.h>

#include <string>

#include "programs.hpp"

namespace culvert::test {

namespace {

using Bytes = std::string;

Bytes u16(unsigned value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
Bytes zeros(std::size_t count) {
    return Bytes(count, '\0');
}

constexpr unsigned syn = 0x02, syn_ack = 0x12, ack = 0x10;

Bytes tcp(unsigned flags) {
    return u16(40000) + u16(80) + zeros(8) + Bytes{'\x50', static_cast<char>(flags)} + zeros(6);
}

Bytes raw_ip(const char* ip, bool v4) {
    auto parsed = *base::IpAddress::parse(ip);
    Bytes bytes(reinterpret_cast<const char*>(parsed.bytes.data()), 16);
    return v4 ? bytes.substr(12) : bytes;
}

Bytes ipv4(const char* from, unsigned protocol, const Bytes& body, unsigned fragment = 0) {
    return Bytes{'\x45', '\0'} + u16(20 + static_cast<unsigned>(body.size())) + zeros(2) + u16(fragment) +
           Bytes{'\x40', static_cast<char>(protocol)} + zeros(2) + raw_ip(from, true) + raw_ip("10.0.0.9", true) + body;
}

Bytes ipv6(const char* from, unsigned next, const Bytes& body) {
    return Bytes{'\x60'} + zeros(3) + u16(static_cast<unsigned>(body.size())) + Bytes{static_cast<char>(next), '\x40'} +
           raw_ip(from, false) + raw_ip("fd00::9", false) + body;
}

Bytes extension(unsigned next, unsigned more_octets = 0) {
    return Bytes{static_cast<char>(next), static_cast<char>(more_octets)} + zeros(6 + more_octets * 8);
}

Bytes fragment(unsigned next, unsigned offset) {
    return Bytes{static_cast<char>(next), '\0'} + u16(offset) + zeros(4);
}

Bytes ethernet(unsigned type, const Bytes& body) {
    return zeros(12) + u16(type) + body;
}
Bytes tagged(unsigned type, unsigned inner, const Bytes& body) {
    return zeros(12) + u16(type) + u16(5) + u16(inner) + body;
}

int run(bpf_program* program, Bytes packet) {
    if (packet.size() < 15) packet.resize(15);
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(),
                .data_size_in = static_cast<__u32>(packet.size()));
    REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(program), &options) == 0);
    return static_cast<int>(options.retval);
}

constexpr unsigned ip4 = 0x0800, ip6 = 0x86dd;
constexpr const char *pod4 = "10.0.0.7", *pod6 = "fd00::7";

}

TEST_SUITE("guard") {

TEST_CASE("guard: a SYN that is not ours does not leave, wherever it hides") {
    struct Row {
        const char* name;
        Bytes packet;
        __u64 cv_counts::*dropped;  // null: passes, uncounted
    };
    const Row rows[] = {
        {"SYN", ethernet(ip4, ipv4(pod4, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"SYN, IPv6", ethernet(ip6, ipv6(pod6, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"SYN-ACK", ethernet(ip4, ipv4(pod4, 6, tcp(syn_ack))), nullptr},
        {"ACK, IPv6", ethernet(ip6, ipv6(pod6, 6, tcp(ack))), nullptr},
        {"UDP", ethernet(ip4, ipv4(pod4, 17, zeros(8))), nullptr},
        {"ARP", ethernet(0x0806, zeros(28)), nullptr},
        {"behind a tag", tagged(0x8100, ip4, ipv4(pod4, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind two tags", tagged(0x88a8, 0x8100, u16(7) + u16(ip6) + ipv6(pod6, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind options", ethernet(ip6, ipv6(pod6, 60, extension(6, 1) + tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind three headers",
         ethernet(ip6, ipv6(pod6, 0, extension(43) + extension(60, 2) + extension(6) + tcp(syn))),
         &cv_counts::GUARD_SYN},
        {"in a first fragment", ethernet(ip4, ipv4(pod4, 6, tcp(syn), 0x2000)), &cv_counts::GUARD_SYN},
        {"in a tiny first fragment", ethernet(ip4, ipv4(pod4, 6, tcp(syn).substr(0, 8), 0x2000)),
         &cv_counts::GUARD_UNREADABLE},
        {"in a tiny first fragment, IPv6", ethernet(ip6, ipv6(pod6, 44, fragment(6, 1) + tcp(syn).substr(0, 8))),
         &cv_counts::GUARD_UNREADABLE},
        {"a later fragment", ethernet(ip4, ipv4(pod4, 6, zeros(16), 3)), nullptr},
        {"a later fragment, IPv6", ethernet(ip6, ipv6(pod6, 44, fragment(6, 8) + zeros(16))), nullptr},
        {"headers without end",
         ethernet(ip6, ipv6(pod6, 60,
                            [] {
                                Bytes many;
                                for (int i = 0; i < 12; ++i) many += extension(60);
                                return many;
                            }())),
         &cv_counts::GUARD_UNREADABLE},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Programs programs;
        int verdict = run(programs->progs.cv_out_guard, row.packet);
        CHECK(verdict == (row.dropped ? TC_ACT_SHOT : TC_ACT_UNSPEC));
        if (row.dropped) CHECK(programs.count(row.dropped) == 1);
        CHECK(programs.total() == (row.dropped ? 1 : 0));
    }
}

TEST_CASE("guard: a pod that is not captured may connect as it likes") {
    Programs programs;
    programs.set_state(CV_POD_LEAVING);
    CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, ipv4(pod4, 6, tcp(syn)))) == TC_ACT_UNSPEC);
    CHECK(programs.total() == 0);
}

TEST_CASE("guard: a packet from outside in the pod's own name is dropped, families kept apart") {
    struct Row {
        const char* name;
        Bytes packet;
        bool dropped;
    };
    const Row rows[] = {
        {"own address", ethernet(ip4, ipv4(pod4, 6, tcp(syn))), true},
        {"own address, IPv6", ethernet(ip6, ipv6(pod6, 6, tcp(syn))), true},
        {"own address in UDP", ethernet(ip6, ipv6(pod6, 17, zeros(8))), true},
        {"own address behind options", ethernet(ip6, ipv6(pod6, 60, extension(6) + tcp(syn))), true},
        {"somebody else", ethernet(ip6, ipv6("fd00::8", 6, tcp(syn))), false},
        {"the mapped form in IPv6 is not the IPv4 address", ethernet(ip6, ipv6("::ffff:10.0.0.7", 6, tcp(syn))), false},
        {"neighbour discovery", ethernet(ip6, ipv6(pod6, 58, zeros(24))), false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Programs programs;
        programs.own(CV_IPV4, pod4);
        programs.own(CV_IPV6, pod6);
        CHECK(run(programs->progs.cv_in_guard, row.packet) == (row.dropped ? TC_ACT_SHOT : TC_ACT_UNSPEC));
        CHECK(programs.count(&cv_counts::GUARD_FORGED) == (row.dropped ? 1 : 0));
    }
}

TEST_CASE("guard: interfaces without an Ethernet header are read from the first byte") {
    Programs programs;
    programs.own(CV_IPV6, pod6);
    CHECK(run(programs->progs.cv_out_guard_l3, ipv4(pod4, 6, tcp(syn))) == TC_ACT_SHOT);
    CHECK(run(programs->progs.cv_out_guard_l3, ipv6(pod6, 6, tcp(ack))) == TC_ACT_UNSPEC);
    CHECK(run(programs->progs.cv_in_guard_l3, ipv6(pod6, 6, tcp(syn))) == TC_ACT_SHOT);
    CHECK(programs.count(&cv_counts::GUARD_SYN) == 1);
    CHECK(programs.count(&cv_counts::GUARD_FORGED) == 1);
}

}

}
