// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <linux/pkt_cls.h>

#include <culvert/bpf/marks.h>

#include "packets.hpp"

namespace culvert::test {

TEST_SUITE("guard") {

TEST_CASE("guard: a SYN that is not ours does not leave, wherever it hides") {
    struct Row {
        const char* name;
        Bytes packet;
        __u64 cv_counts::*dropped;  // null: passes, uncounted
    };
    const Row rows[] = {
        {"SYN", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"SYN, IPv6", ethernet(ip6, in_ipv6(pod6, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"SYN-ACK", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn_ack))), &cv_counts::GUARD_ANSWER},
        {"SYN-ACK, IPv6", ethernet(ip6, in_ipv6(pod6, 6, tcp(syn_ack))), &cv_counts::GUARD_ANSWER},
        {"ACK, IPv6", ethernet(ip6, in_ipv6(pod6, 6, tcp(ack))), nullptr},
        {"UDP", ethernet(ip4, in_ipv4(pod4, 17, zeros(8))), nullptr},
        {"ARP", ethernet(0x0806, zeros(28)), nullptr},
        {"behind a tag", tagged(0x8100, ip4, in_ipv4(pod4, 6, tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind two tags", tagged(0x88a8, 0x8100, u16(7) + u16(ip6) + in_ipv6(pod6, 6, tcp(syn))),
         &cv_counts::GUARD_SYN},
        {"behind a priority tag", tagged(0x8100, ip4, in_ipv4(pod4, 6, tcp(syn)), 0xa000), &cv_counts::GUARD_SYN},
        {"behind three tags",
         tagged(0x88a8, 0x8100, u16(7) + u16(0x8100) + u16(8) + u16(ip4) + in_ipv4(pod4, 6, tcp(syn))),
         &cv_counts::GUARD_SYN},
        {"behind four tags",
         tagged(0x88a8, 0x8100,
                u16(7) + u16(0x8100) + u16(8) + u16(0x8100) + u16(9) + u16(ip4) + in_ipv4(pod4, 6, tcp(syn))),
         &cv_counts::GUARD_UNREADABLE},
        {"behind IPv4 options", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn), 0, Bytes(8, '\1'))), &cv_counts::GUARD_SYN},
        {"behind all IPv4 options", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn), 0, Bytes(40, '\1'))),
         &cv_counts::GUARD_SYN},
        {"behind hop-by-hop options", ethernet(ip6, in_ipv6(pod6, 0, extension(6) + tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind a route to ::1", ethernet(ip6, in_ipv6(pod6, 43, route_to_loopback(6) + tcp(syn))),
         &cv_counts::GUARD_SYN},
        {"cut in the IPv4 header", tagged(0x8100, ip4, in_ipv4(pod4, 6, tcp(syn)).substr(0, 12)),
         &cv_counts::GUARD_UNREADABLE},
        {"cut in the IPv6 header", tagged(0x8100, ip6, in_ipv6(pod6, 6, tcp(syn)).substr(0, 20)),
         &cv_counts::GUARD_UNREADABLE},
        {"cut in an option", ethernet(ip6, in_ipv6(pod6, 60, extension(6).substr(0, 2))), &cv_counts::GUARD_UNREADABLE},
        {"cut before the flags", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn).substr(0, 13))), &cv_counts::GUARD_UNREADABLE},
        {"cut before the flags, IPv6", ethernet(ip6, in_ipv6(pod6, 6, tcp(syn).substr(0, 13))),
         &cv_counts::GUARD_UNREADABLE},
        {"behind options", ethernet(ip6, in_ipv6(pod6, 60, extension(6, 1) + tcp(syn))), &cv_counts::GUARD_SYN},
        {"behind three headers",
         ethernet(ip6, in_ipv6(pod6, 0, extension(43) + extension(60, 2) + extension(6) + tcp(syn))),
         &cv_counts::GUARD_SYN},
        {"in a first fragment", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn), 0x2000)), &cv_counts::GUARD_SYN},
        {"in a tiny first fragment", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn).substr(0, 8), 0x2000)),
         &cv_counts::GUARD_UNREADABLE},
        {"in a tiny first fragment, IPv6", ethernet(ip6, in_ipv6(pod6, 44, fragment(6, 1) + tcp(syn).substr(0, 8))),
         &cv_counts::GUARD_UNREADABLE},
        {"the second of eight octets", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn).substr(8, 8), 0x2001)), nullptr},
        {"the third of eight octets, IPv6", ethernet(ip6, in_ipv6(pod6, 44, fragment(6, 0x10) + tcp(syn).substr(16))),
         nullptr},
        {"a later fragment", ethernet(ip4, in_ipv4(pod4, 6, zeros(16), 3)), nullptr},
        {"a later fragment, IPv6", ethernet(ip6, in_ipv6(pod6, 44, fragment(6, 8) + zeros(16))), nullptr},
        {"headers without end",
         ethernet(ip6, in_ipv6(pod6, 60,
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
        bool is_dropped = verdict == TC_ACT_SHOT || verdict == TC_ACT_REDIRECT;
        CHECK(is_dropped == bool(row.dropped));
        if (!row.dropped) CHECK(verdict == TC_ACT_UNSPEC);
        if (row.dropped) CHECK(programs.count(row.dropped) == 1);
        CHECK(programs.total() == (row.dropped ? 1 : 0));
    }
}

TEST_CASE("guard: a dropped SYN is turned around into its refusal, checksums right; any other stays as it is") {
    Bytes macs = "\2\2\2\2\2\2\1\1\1\1\1\1", back = macs.substr(6) + macs.substr(0, 6);
    // Sequence 0xfffffffe, some flags for ECN, a window, an option and a payload.
    Bytes segment = u16(40000) + u16(80) + "\xff\xff\xff\xfe" + zeros(4) + "\x60\xc2" + u16(65000) + zeros(4) +
                    Bytes("\2\4\5\xb4", 4) + "payload.";
    Bytes expected = u16(80) + u16(40000) + zeros(4) + "\xff\xff\xff\xff" + "\x60\x14" + u16(65000) + zeros(4) +
                     Bytes("\2\4\5\xb4", 4) + "payload.";
    for (bool v4 : {true, false}) {
        CAPTURE(v4);
        Bytes from = raw_ip(v4 ? pod4 : pod6, v4), to = raw_ip(v4 ? "10.0.0.9" : "fd00::9", v4), out;
        auto packet = [&](const Bytes& tcp, const char* source, const char* destination) {
            Bytes ip = v4 ? in_ipv4(source, 6, tcp) : in_ipv6(source, 6, tcp, destination);
            return v4 ? ip.replace(16, 4, raw_ip(destination, true)) : ip;
        };
        const char *here = v4 ? pod4 : pod6, *there = v4 ? "10.0.0.9" : "fd00::9";
        Bytes asked = packet(with_checksum(segment, from + to), here, there);
        Bytes answered = packet(with_checksum(expected, to + from), there, here);
        Programs programs;
        CHECK(run(programs->progs.cv_out_guard, macs + u16(v4 ? ip4 : ip6) + asked, 0, &out) == TC_ACT_REDIRECT);
        CHECK(out == back + u16(v4 ? ip4 : ip6) + answered);
        CHECK(run(programs->progs.cv_out_guard_l3, asked, 0, &out) == TC_ACT_REDIRECT);
        CHECK(out == answered);
        CHECK(programs.count(&cv_counts::GUARD_SYN) == 2);

        for (const Bytes& odd : {tagged(0x8100, v4 ? ip4 : ip6, asked),
                                 v4 ? ethernet(ip4, in_ipv4(pod4, 6, segment, 0, zeros(4)))
                                    : ethernet(ip6, in_ipv6(pod6, 60, extension(6) + segment)),
                                 v4 ? ethernet(ip4, in_ipv4(pod4, 6, segment, 0x2000))
                                    : ethernet(ip6, in_ipv6(pod6, 44, fragment(6, 1) + segment))}) {
            CHECK(run(programs->progs.cv_out_guard, odd, 0, &out) == TC_ACT_SHOT);
            CHECK(out == odd);
        }
    }
}

TEST_CASE("guard: a refusal that is not for the pod's own address goes to nobody with the pod's link address") {
    Programs programs;
    Bytes to_pod = ethernet(ip4, in_ipv4("10.0.0.9", 6, tcp(0x14)));  // of the test's interface: zeros
    Bytes to_other = Bytes(6, '\2') + to_pod.substr(6);
    CHECK(run(programs->progs.cv_in_guard, to_pod, CV_MARK_REFUSE) == TC_ACT_SHOT);
    CHECK(run(programs->progs.cv_in_guard, to_pod) == TC_ACT_UNSPEC);
    CHECK(run(programs->progs.cv_in_guard, to_other, CV_MARK_REFUSE) == TC_ACT_UNSPEC);
    CHECK(programs.total() == 0);
}

TEST_CASE("guard: a packet that was to go over lo, or nowhere, does not leave, also while the pod leaves the mesh") {
    for (cv_pod_state state : {CV_POD_CAPTURING, CV_POD_LEAVING}) {
        Programs programs;
        programs.set_state(state);
        for (unsigned mark : {0x111u, 0x112u, 0xabc111u}) {
            CAPTURE(mark);
            CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, in_ipv4(pod4, 6, tcp(ack))), mark) == TC_ACT_SHOT);
            CHECK(run(programs->progs.cv_out_guard_l3, in_ipv6(pod6, 17, zeros(8)), mark) == TC_ACT_SHOT);
        }
        for (unsigned mark : {0x539u, 0x113u, 0x11u, 0x111000u})
            CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, in_ipv4(pod4, 6, tcp(ack))), mark) == TC_ACT_UNSPEC);
        CHECK(programs.count(&cv_counts::GUARD_CAPTURED) == 6);
        CHECK(programs.total() == 6);
    }
}

TEST_CASE("guard: an app answers nobody but a probe that has just been noted") {
    for (bool v4 : {true, false}) {
        CAPTURE(v4);
        const char *here = v4 ? pod4 : pod6, *there = v4 ? "10.0.0.9" : "fd00::9";
        cv_family family = v4 ? CV_IPV4 : CV_IPV6;
        Bytes answer =
            v4 ? ethernet(ip4, in_ipv4(pod4, 6, tcp(syn_ack))) : ethernet(ip6, in_ipv6(pod6, 6, tcp(syn_ack)));
        auto verdict = [&](unsigned mark, const cv_note_key* noted, __u64 age = 0, bool leg = false) {
            Programs programs;
            if (noted) note(leg ? programs->maps.cv_legs : programs->maps.cv_probes, *noted, age);
            int said = run(programs->progs.cv_out_guard, answer, mark);
            CHECK(programs.count(&cv_counts::GUARD_ANSWER) == (said == TC_ACT_SHOT));
            return said;
        };
        cv_note_key probe = tuple(family, there, 80, here, 40000), reversed = tuple(family, here, 40000, there, 80);
        CHECK(verdict(0, nullptr) == TC_ACT_SHOT);
        CHECK(verdict(0x539, nullptr) == TC_ACT_SHOT);  // no proof where there is a socket to ask: the test-run call's
        CHECK(verdict(0, &probe) == TC_ACT_UNSPEC);
        CHECK(verdict(0, &probe, CV_NOTE_LIFE_NS) == TC_ACT_SHOT);
        CHECK(verdict(0, &reversed) == TC_ACT_SHOT);
        CHECK(verdict(0, &probe, 0, true) == TC_ACT_SHOT);
    }
    Programs programs;
    programs.set_state(CV_POD_LEAVING);
    CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, in_ipv4(pod4, 6, tcp(syn_ack)))) == TC_ACT_UNSPEC);
}

TEST_CASE("guard: an app answers anybody from a port that the pod excludes, and from no other") {
    // Answers come from port 40000, to port 80.
    auto verdict = [](const Bytes& packet, const state::Exclusions& excluded) {
        Programs programs;
        programs.exclude(excluded);
        int said = run(programs->progs.cv_out_guard, packet);
        CHECK(programs.count(&cv_counts::GUARD_ANSWER) == (said == TC_ACT_SHOT));
        return said;
    };
    for (const Bytes& answer :
         {ethernet(ip4, in_ipv4(pod4, 6, tcp(syn_ack))), ethernet(ip6, in_ipv6(pod6, 6, tcp(syn_ack))),
          ethernet(ip6, in_ipv6(pod6, 60, extension(6) + tcp(syn_ack)))}) {
        CHECK(verdict(answer, {.inbound_ports = {9100, 40000}}) == TC_ACT_UNSPEC);
        CHECK(verdict(answer, {.inbound_ports = {80, 39999, 40001}}) == TC_ACT_SHOT);
        CHECK(verdict(answer, {.outbound_ports = {80, 40000}}) == TC_ACT_SHOT);
    }
}

TEST_CASE("guard: a SYN to what the pod excludes does not leave without the socket that was let past") {
    Programs programs;
    programs.exclude({.outbound_ports = {80}, .outbound_cidrs = {*state::Cidr::parse("10.0.0.0/8")}});
    CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, in_ipv4(pod4, 6, tcp(syn)))) == TC_ACT_REDIRECT);
    CHECK(run(programs->progs.cv_out_guard, ethernet(ip6, in_ipv6(pod6, 6, tcp(syn)))) == TC_ACT_REDIRECT);
    CHECK(programs.count(&cv_counts::GUARD_SYN) == 2);
}

TEST_CASE("guard: a SYN from outside that looks like a leg of ours is forged") {
    const char *client4 = "10.0.0.66", *client6 = "fd00::66";
    auto verdict = [&](const Bytes& packet, __u64 cv_counts::*reason, __u64 age = 0) {
        Programs programs;
        note(programs->maps.cv_legs, tuple(CV_IPV4, client4, 40000, "10.0.0.9", 80), age);
        note(programs->maps.cv_legs, tuple(CV_IPV6, client6, 40000, "fd00::9", 80), age);
        int said = run(programs->progs.cv_in_guard, packet);
        CHECK(programs.total() == (reason ? 1 : 0));
        return reason ? programs.count(reason) == 1 && said == TC_ACT_SHOT : said == TC_ACT_UNSPEC;
    };
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn))), &cv_counts::GUARD_FORGED));
    CHECK(verdict(ethernet(ip6, in_ipv6(client6, 6, tcp(syn))), &cv_counts::GUARD_FORGED));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn), 0, zeros(4))), &cv_counts::GUARD_FORGED));
    CHECK(verdict(ethernet(ip6, in_ipv6(client6, 60, extension(6) + tcp(syn))), &cv_counts::GUARD_FORGED));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn), 0x2000)), &cv_counts::GUARD_FORGED));
    // Where the tuple cannot be told.
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn).substr(0, 8), 0x2000)), &cv_counts::GUARD_UNREADABLE));
    CHECK(verdict(ethernet(ip6, in_ipv6(client6, 43, route_to_loopback(6) + tcp(syn))), &cv_counts::GUARD_UNREADABLE));
    // Neither old nor not a SYN, nor another tuple.
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn))), nullptr, CV_NOTE_LIFE_NS));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(ack))), nullptr));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, tcp(syn_ack))), nullptr));
    CHECK(verdict(ethernet(ip4, in_ipv4("10.0.0.67", 6, tcp(syn))), nullptr));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 6, zeros(16), 3)), nullptr));
    CHECK(verdict(ethernet(ip4, in_ipv4(client4, 17, zeros(8))), nullptr));
}

TEST_CASE("guard: a pod that is not captured may connect as it likes") {
    Programs programs;
    programs.set_state(CV_POD_LEAVING);
    CHECK(run(programs->progs.cv_out_guard, ethernet(ip4, in_ipv4(pod4, 6, tcp(syn)))) == TC_ACT_UNSPEC);
    CHECK(programs.total() == 0);
}

TEST_CASE("guard: a packet from outside in the pod's own name is dropped, families kept apart") {
    struct Row {
        const char* name;
        Bytes packet;
        bool dropped;
    };
    const Row rows[] = {
        {"own address", ethernet(ip4, in_ipv4(pod4, 6, tcp(syn))), true},
        {"own address, IPv6", ethernet(ip6, in_ipv6(pod6, 6, tcp(syn))), true},
        {"own address in UDP", ethernet(ip6, in_ipv6(pod6, 17, zeros(8))), true},
        {"own address behind options", ethernet(ip6, in_ipv6(pod6, 60, extension(6) + tcp(syn))), true},
        {"somebody else", ethernet(ip6, in_ipv6("fd00::8", 6, tcp(syn))), false},
        {"the mapped form in IPv6 is not the IPv4 address", ethernet(ip6, in_ipv6("::ffff:10.0.0.7", 6, tcp(syn))),
         false},
        {"neighbour discovery", ethernet(ip6, in_ipv6(pod6, 58, zeros(24))), false},
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
    CHECK(run(programs->progs.cv_out_guard_l3, in_ipv4(pod4, 6, tcp(syn))) == TC_ACT_REDIRECT);
    CHECK(run(programs->progs.cv_out_guard_l3, in_ipv6(pod6, 6, tcp(ack))) == TC_ACT_UNSPEC);
    CHECK(run(programs->progs.cv_in_guard_l3, in_ipv6(pod6, 6, tcp(syn))) == TC_ACT_SHOT);
    CHECK(programs.count(&cv_counts::GUARD_SYN) == 1);
    CHECK(programs.count(&cv_counts::GUARD_FORGED) == 1);
}

TEST_CASE("guard: what nameservers answer a pod with DNS has our mark from then on, and nothing else has") {
    struct Row {
        const char* name;
        Bytes packet;
        bool dns;
        bool marked;
    };
    const Bytes answer = u16(53) + u16(40000) + zeros(8), question = u16(40000) + u16(53) + zeros(8);
    const Row rows[] = {
        {"an answer", ethernet(ip4, in_ipv4("10.0.0.9", 17, answer)), true, true},
        {"an answer, IPv6", ethernet(ip6, in_ipv6("fd00::9", 17, answer)), true, true},
        {"to a pod without DNS", ethernet(ip4, in_ipv4("10.0.0.9", 17, answer)), false, false},
        {"a question", ethernet(ip4, in_ipv4("10.0.0.9", 17, question)), true, false},
        {"by TCP", ethernet(ip4, in_ipv4("10.0.0.9", 6, u16(53) + u16(40000) + zeros(16))), true, false},
        {"a later fragment", ethernet(ip4, in_ipv4("10.0.0.9", 17, answer, 3)), true, false},
        {"cut off", tagged(0x8100, ip4, in_ipv4("10.0.0.9", 17, "5")), true, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Programs programs;
        programs.set_state(CV_POD_CAPTURING, {}, row.dns);
        __sk_buff context{};
        context.mark = 0xabc000;
        Bytes packet = row.packet;
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(),
                    .data_size_in = static_cast<__u32>(packet.size()), .ctx_in = &context, .ctx_out = &context,
                    .ctx_size_in = sizeof context, .ctx_size_out = sizeof context);
        REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(programs->progs.cv_in_guard), &options) == 0);
        CHECK(static_cast<int>(options.retval) == TC_ACT_UNSPEC);
        CHECK(context.mark == (row.marked ? 0xabc000u | CV_MARK_PROXY : 0xabc000u));
        CHECK(programs.total() == 0);
    }
}

}

}
