// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>

#include "programs.hpp"

namespace culvert::test {

namespace {

struct Syn {
    cv_family family;
    const char* from;
    const char* to;
    __u16 port;
    __u32 protocol = IPPROTO_TCP;
};

bpf_sk_lookup context(const Syn& syn) {
    bpf_sk_lookup ctx{};
    auto from = *base::IpAddress::parse(syn.from), to = *base::IpAddress::parse(syn.to);
    ctx.family = syn.family;
    ctx.protocol = syn.protocol;
    ctx.remote_port = htons(40000);
    ctx.local_port = syn.port;
    if (syn.family == CV_IPV4) {
        std::memcpy(&ctx.remote_ip4, from.bytes.data() + 12, 4);
        std::memcpy(&ctx.local_ip4, to.bytes.data() + 12, 4);
    } else {
        std::memcpy(ctx.remote_ip6, from.bytes.data(), 16);
        std::memcpy(ctx.local_ip6, to.bytes.data(), 16);
    }
    return ctx;
}

int run(Programs& programs, const Syn& syn) {
    bpf_sk_lookup ctx = context(syn);
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &ctx, .ctx_size_in = sizeof ctx);
    REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(programs->progs.cv_lookup), &options) == 0);
    return static_cast<int>(options.retval);
}

base::Fd listener(int family) {
    base::Fd fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(::listen(fd.get(), 8) == 0);
    return fd;
}

void fill(Programs& programs, cv_arrival arrival, int family, const base::Fd& fd) {
    for (__u32 worker = 0; worker < Programs::workers; ++worker) {
        __u32 slot = (arrival * 2u + (family == AF_INET6)) * Programs::workers + worker;
        Programs::update(programs->maps.cv_listeners, slot, static_cast<__u64>(fd.get()));
    }
}

void note(Programs& programs, bpf_map* map, const Syn& syn, cv_note_kind kind, __u64 age_ns = 0) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    cv_note_key key{};
    key.netns_cookie = Programs::pod_netns;
    key.family = syn.family;
    key.source_port = 40000;
    key.destination_port = syn.port;
    programs.write_ip(key.source_ip, syn.from);
    programs.write_ip(key.destination_ip, syn.to);
    cv_note value{};
    value.at_ns = static_cast<__u64>(now.tv_sec) * 1'000'000'000 + static_cast<__u64>(now.tv_nsec) - age_ns;
    value.kind = kind;
    Programs::update(map, key, value);
}

constexpr const char *pod4 = "10.0.0.7", *pod6 = "fd00::7", *peer4 = "10.0.0.9", *peer6 = "fd00::9";

void give_addresses(Programs& programs) {
    programs.own(CV_IPV4, pod4);
    programs.own(CV_IPV6, pod6);
    programs.own(CV_IPV6, "fe80::7");
}

}

TEST_SUITE("lookup") {

TEST_CASE("lookup: each SYN gets its verdict and its reason") {
    struct Row {
        const char* name;
        Syn syn;
        int verdict;
        __u64 cv_counts::*reason;
    };
    const Row rows[] = {
        {"to a plain port", {CV_IPV4, peer4, pod4, 80}, SK_PASS, &cv_counts::TO_INBOUND},
        {"to a plain port, IPv6", {CV_IPV6, peer6, pod6, 80}, SK_PASS, &cv_counts::TO_INBOUND},
        {"to the link-local address", {CV_IPV6, "fe80::9", "fe80::7", 80}, SK_PASS, &cv_counts::TO_INBOUND},
        {"a tunnel", {CV_IPV4, peer4, pod4, 15008}, SK_PASS, &cv_counts::TO_TUNNEL},
        {"a tunnel, IPv6", {CV_IPV6, peer6, pod6, 15008}, SK_PASS, &cv_counts::TO_TUNNEL},
        {"from the pod outward", {CV_IPV4, pod4, "10.96.0.10", 443}, SK_PASS, &cv_counts::TO_OUTBOUND},
        {"from the pod outward to 15008", {CV_IPV6, pod6, peer6, 15008}, SK_PASS, &cv_counts::TO_OUTBOUND},
        {"to itself", {CV_IPV4, pod4, pod4, 80}, SK_PASS, &cv_counts::PASS_SELF},
        {"to itself, IPv6", {CV_IPV6, pod6, pod6, 15008}, SK_PASS, &cv_counts::PASS_SELF},
        {"loopback", {CV_IPV4, "127.0.0.1", "127.0.0.1", 80}, SK_PASS, &cv_counts::PASS_LOOPBACK},
        {"loopback, IPv6", {CV_IPV6, "::1", "::1", 80}, SK_PASS, &cv_counts::PASS_LOOPBACK},
        {"from outside to an address that is not there",
         {CV_IPV4, peer4, "10.0.0.8", 80},
         SK_DROP,
         &cv_counts::DROP_FOREIGN},
        {"the pod's IPv4 address forged into IPv6",
         {CV_IPV6, "::ffff:10.0.0.7", pod6, 80},
         SK_PASS,
         &cv_counts::TO_INBOUND},
        {"forged IPv6 to forged IPv6", {CV_IPV6, peer6, "::ffff:10.0.0.7", 80}, SK_DROP, &cv_counts::DROP_FOREIGN},
    };
    base::Fd listen4 = listener(AF_INET), listen6 = listener(AF_INET6);
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Programs programs;
        give_addresses(programs);
        for (cv_arrival arrival : {CV_ARRIVAL_OUTBOUND, CV_ARRIVAL_INBOUND_PLAIN, CV_ARRIVAL_INBOUND_TUNNEL}) {
            fill(programs, arrival, AF_INET, listen4);
            fill(programs, arrival, AF_INET6, listen6);
        }
        CHECK(run(programs, row.syn) == row.verdict);
        CHECK(programs.count(row.reason) == 1);
        CHECK(programs.total() == 1);
    }
}

TEST_CASE("lookup: without a listener it is refused, never let past") {
    for (const Syn& syn :
         {Syn{CV_IPV4, peer4, pod4, 80}, Syn{CV_IPV4, peer4, pod4, 15008}, Syn{CV_IPV6, pod6, peer6, 80}}) {
        Programs programs;
        give_addresses(programs);
        CHECK(run(programs, syn) == SK_DROP);
        CHECK(programs.count(&cv_counts::DROP_NO_LISTENER) == 1);
    }
}

TEST_CASE("lookup: a listener that the kernel will not give is refused, too") {
    Programs programs;
    give_addresses(programs);
    base::Fd only6 = listener(AF_INET6);
    fill(programs, CV_ARRIVAL_INBOUND_PLAIN, AF_INET6, only6);
    fill(programs, CV_ARRIVAL_INBOUND_PLAIN, AF_INET, only6);
    int one = 1;
    base::Fd v6only{::socket(AF_INET6, SOCK_STREAM, 0)};
    ::setsockopt(v6only.get(), SOL_IPV6, 26 /* IPV6_V6ONLY */, &one, sizeof one);
    REQUIRE(::listen(v6only.get(), 8) == 0);
    fill(programs, CV_ARRIVAL_INBOUND_PLAIN, AF_INET, v6only);
    CHECK(run(programs, {CV_IPV4, peer4, pod4, 80}) == SK_DROP);
    CHECK(programs.count(&cv_counts::DROP_ASSIGN_FAILED) == 1);
}

TEST_CASE("lookup: a crowded worker is passed over, and taken when all are crowded") {
    base::Fd idle = listener(AF_INET), crowded{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(::listen(crowded.get(), 1) == 0);
    auto at = base::local_address(crowded.get());
    at.ip = *base::IpAddress::parse("127.0.0.1");
    sockaddr_storage raw{};
    socklen_t size = at.to(raw);
    base::Fd waiting{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(::connect(waiting.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);

    Programs programs;
    give_addresses(programs);
    fill(programs, CV_ARRIVAL_INBOUND_PLAIN, AF_INET, crowded);
    CHECK(run(programs, {CV_IPV4, peer4, pod4, 80}) == SK_PASS);
    CHECK(programs.count(&cv_counts::TO_INBOUND) == 1);
    CHECK(programs.count(&cv_counts::SLOT_CROWDED) == Programs::workers);
    __u32 second = CV_ARRIVAL_INBOUND_PLAIN * 2u * Programs::workers + 1;
    Programs::update(programs->maps.cv_listeners, second, static_cast<__u64>(idle.get()));
    for (__u16 port = 1; port < 50; ++port) CHECK(run(programs, {CV_IPV4, peer4, pod4, port}) == SK_PASS);
    __u64 passed_over = programs.count(&cv_counts::SLOT_CROWDED) - Programs::workers;
    CHECK(passed_over > 10);  // the hash spreads: some SYNs begin at the idle worker
    CHECK(passed_over < 40);
}

TEST_CASE("lookup: a noted probe and a noted leg pass, for a second") {
    const Syn syn{CV_IPV4, peer4, pod4, 80};
    base::Fd listen4 = listener(AF_INET);
    struct Row {
        const char* name;
        bool leg;
        cv_note_kind kind;
        __u64 age;
        __u64 cv_counts::*reason;
    };
    for (const Row& row : {Row{"probe", false, CV_NOTE_PROBE, 0, &cv_counts::PASS_PROBE},
                           Row{"old probe", false, CV_NOTE_PROBE, CV_NOTE_LIFE_NS, &cv_counts::TO_INBOUND},
                           Row{"leg", true, CV_NOTE_LEG, 0, &cv_counts::PASS_LEG},
                           Row{"old leg", true, CV_NOTE_LEG, CV_NOTE_LIFE_NS, &cv_counts::TO_INBOUND},
                           Row{"a dial to the own pod", true, CV_NOTE_DIAL, 0, &cv_counts::TO_INBOUND}}) {
        CAPTURE(row.name);
        Programs programs;
        give_addresses(programs);
        fill(programs, CV_ARRIVAL_INBOUND_PLAIN, AF_INET, listen4);
        note(programs, row.leg ? programs->maps.cv_legs : programs->maps.cv_probes, syn, row.kind, row.age);
        CHECK(run(programs, syn) == SK_PASS);
        CHECK(programs.count(row.reason) == 1);
    }
}

TEST_CASE("lookup: a pod that is not there or leaves gets its connections itself") {
    Programs absent{false};
    give_addresses(absent);
    CHECK(run(absent, {CV_IPV4, peer4, pod4, 15008}) == SK_PASS);
    CHECK(absent.count(&cv_counts::PASS_LEAVING) == 1);

    Programs leaving;
    leaving.set_state(CV_POD_LEAVING);
    CHECK(run(leaving, {CV_IPV4, peer4, pod4, 80}) == SK_PASS);
    CHECK(leaving.count(&cv_counts::PASS_LEAVING) == 1);
}

TEST_CASE("lookup: a port that the pod excludes is the app's own, and no other; tunnels and legs go their way") {
    struct Row {
        const char* name;
        Syn syn;
        __u64 cv_counts::*reason;
    };
    const Row rows[] = {
        {"the first of the list", {CV_IPV4, peer4, pod4, 9100}, &cv_counts::PASS_EXCLUDED},
        {"the last, IPv6", {CV_IPV6, peer6, pod6, 9115}, &cv_counts::PASS_EXCLUDED},
        {"one below", {CV_IPV4, peer4, pod4, 9099}, &cv_counts::TO_INBOUND},
        {"one above", {CV_IPV6, peer6, pod6, 9116}, &cv_counts::TO_INBOUND},
        {"its bytes the other way round", {CV_IPV4, peer4, pod4, 0x8c23}, &cv_counts::TO_INBOUND},
        {"port 0", {CV_IPV4, peer4, pod4, 0}, &cv_counts::TO_INBOUND},
        {"a tunnel", {CV_IPV4, peer4, pod4, 15008}, &cv_counts::TO_TUNNEL},
        {"from the pod itself", {CV_IPV4, pod4, pod4, 9100}, &cv_counts::PASS_SELF},
        {"from the pod outward", {CV_IPV4, pod4, peer4, 9100}, &cv_counts::TO_OUTBOUND},
        {"to an address that is not the pod's", {CV_IPV4, peer4, "10.0.0.8", 9100}, &cv_counts::DROP_FOREIGN},
    };
    state::Exclusions exclusions{.outbound_ports = {9099}};
    for (std::uint16_t port = 9100; port < 9116; ++port) exclusions.inbound_ports.push_back(port);
    base::Fd listen4 = listener(AF_INET), listen6 = listener(AF_INET6);
    auto judge = [&](const Syn& syn, const state::Exclusions& excluded, __u64 cv_counts::*reason) {
        Programs programs;
        programs.exclude(excluded);
        give_addresses(programs);
        for (cv_arrival arrival : {CV_ARRIVAL_OUTBOUND, CV_ARRIVAL_INBOUND_PLAIN, CV_ARRIVAL_INBOUND_TUNNEL}) {
            fill(programs, arrival, AF_INET, listen4);
            fill(programs, arrival, AF_INET6, listen6);
        }
        run(programs, syn);
        CHECK(programs.total() == 1);
        return programs.count(reason) == 1;
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        CHECK(judge(row.syn, exclusions, row.reason));
    }
    CHECK(judge({CV_IPV4, peer4, pod4, 9100}, {.outbound_ports = {9100}}, &cv_counts::TO_INBOUND));
    // Where only some places are used, the others hold 0.
    CHECK(judge({CV_IPV4, peer4, pod4, 0}, {.inbound_ports = {9100}}, &cv_counts::TO_INBOUND));

    Programs programs;
    programs.exclude(exclusions);
    give_addresses(programs);
    note(programs, programs->maps.cv_legs, {CV_IPV4, peer4, pod4, 9100}, CV_NOTE_LEG);
    run(programs, {CV_IPV4, peer4, pod4, 9100});
    CHECK(programs.count(&cv_counts::PASS_LEG) == 1);
}

TEST_CASE("lookup: UDP is not looked at") {
    Programs programs;
    CHECK(run(programs, {CV_IPV4, peer4, pod4, 53, IPPROTO_UDP}) == SK_PASS);
    CHECK(run(programs, {CV_IPV4, pod4, peer4, 53, IPPROTO_UDP}) == SK_PASS);
    CHECK(programs.total() == 0);
}

TEST_CASE("lookup: of a pod with DNS, questions to foreign nameservers are taken, and nothing else by UDP") {
    struct Row {
        const char* name;
        Syn question;
        bool taken;
    };
    constexpr __u32 udp = IPPROTO_UDP;  // the interface cannot be said in a test run: it is none, and the source counts
    const Row rows[] = {
        {"a question", {CV_IPV4, pod4, "10.96.0.10", 53, udp}, true},
        {"a question, IPv6", {CV_IPV6, pod6, peer6, 53, udp}, true},
        {"another port", {CV_IPV4, pod4, peer4, 5353, udp}, false},
        {"to a server of its own", {CV_IPV4, pod4, pod4, 53, udp}, false},
        {"to a server of its own, from outside", {CV_IPV6, peer6, pod6, 53, udp}, false},
        {"on loopback", {CV_IPV4, "127.0.0.1", "127.0.0.53", 53, udp}, false},
        {"on loopback, IPv6", {CV_IPV6, "::1", "::1", 53, udp}, false},
        {"from outside to nobody", {CV_IPV4, peer4, "10.0.0.8", 53, udp}, false},
    };
    auto open = [](int family) {
        base::Fd fd{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        sockaddr_storage raw{};
        socklen_t size = base::SocketAddress{base::IpAddress::any(family), 0}.to(raw);
        REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
        return fd;
    };
    base::Fd listen4 = open(AF_INET), listen6 = open(AF_INET6);
    auto judge = [&](const Row& row, bool dns, cv_pod_state state, bool served) {
        CAPTURE(row.name);
        Programs programs;
        programs.set_state(state, {}, dns);
        give_addresses(programs);
        if (served) {
            __u32 first = CV_ARRIVAL_DNS * 2u * Programs::workers;
            Programs::update(programs->maps.cv_listeners, first, static_cast<__u64>(listen4.get()));
            Programs::update(programs->maps.cv_listeners, first + Programs::workers, static_cast<__u64>(listen6.get()));
        }
        bool taken = row.taken && dns && state == CV_POD_CAPTURING;
        CHECK(run(programs, row.question) == (taken && !served ? SK_DROP : SK_PASS));
        CHECK(programs.total() == taken);
        CHECK(programs.count(served ? &cv_counts::TO_DNS : &cv_counts::DROP_NO_LISTENER) == taken);
    };
    for (const Row& row : rows)
        for (bool served : {true, false}) {
            judge(row, true, CV_POD_CAPTURING, served);
            judge(row, true, CV_POD_LEAVING, served);
            judge(row, false, CV_POD_CAPTURING, served);
        }
}

}

}
