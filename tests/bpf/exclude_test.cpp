// SPDX-License-Identifier: Apache-2.0
// What a pod excludes, on real sockets: past the proxy both ways, and nothing beside it.
#include "daemon.hpp"

#include <cstring>

#include <capture/exclusions.hpp>

namespace culvert::test {

namespace {

state::Cidr range(const char* text) {
    return *state::Cidr::parse(text);
}

// Of the app's connect: whether it went past the proxy, to a listener of the node's.
bool goes_past(const Daemon& daemon, int app, int listener, int family) {
    Fd there = accept_from(listener, 100), here = daemon.accept(Arrival::outbound, family, there ? 0 : 300);
    CHECK(bool(there) != bool(here));
    CHECK(app >= 0);
    return bool(there);
}

}

TEST_SUITE("exclude") {

TEST_CASE("exclude: ranges are compared to the last bit, and never across families") {
    struct Row {
        const char* excluded;
        int family;
        const char* to;
        bool past;
    };
    const Row rows[] = {
        {"10.77.0.1/32", AF_INET, ipv4.node, true},  {"10.77.0.0/32", AF_INET, ipv4.node, false},
        {"10.77.0.0/31", AF_INET, ipv4.node, true},  {"10.77.0.2/31", AF_INET, ipv4.node, false},
        {"10.96.0.0/11", AF_INET, ipv4.node, false}, {"10.64.0.0/11", AF_INET, ipv4.node, true},
        {"0.0.0.0/1", AF_INET, ipv4.node, true},     {"128.0.0.0/1", AF_INET, ipv4.node, false},
        {"::/1", AF_INET, ipv4.node, false},         {"fd77::1/128", AF_INET6, ipv6.node, true},
        {"fd77::/127", AF_INET6, ipv6.node, true},   {"fd77::2/127", AF_INET6, ipv6.node, false},
        {"fd77::/64", AF_INET6, ipv6.node, true},    {"fd77:0:0:0:8000::/65", AF_INET6, ipv6.node, false},
        {"fd00::/9", AF_INET6, ipv6.node, true},     {"fd80::/9", AF_INET6, ipv6.node, false},
    };
    on_node([&rows](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.enrol();
        Fd listen4 = listen_in(where.node(), ipv4.node, 8080), listen6 = listen_in(where.node(), ipv6.node, 8080);
        for (const Row& row : rows) {
            CAPTURE(row.excluded);
            // Last of a full list, and alone.
            state::Exclusions full{.outbound_cidrs = std::vector<state::Cidr>(15, range("192.0.2.0/24"))};
            full.outbound_cidrs.push_back(range(row.excluded));
            for (const state::Exclusions& excluded :
                 {full, state::Exclusions{.outbound_cidrs = {range(row.excluded)}}}) {
                REQUIRE(daemon->exclude("uid-1", excluded).has_value());
                auto app = connect_in(where.pod(), row.to, 8080);
                CHECK(app.error == 0);
                CHECK(goes_past(daemon, app.fd.get(), (row.family == AF_INET ? listen4 : listen6).get(), row.family) ==
                      row.past);
            }
        }
        CHECK(daemon.count("CONNECT_EXCLUDED_CIDR") == 16);
        CHECK(daemon.count("CONNECT_CAPTURED") == 16);
        CHECK(daemon.count("GUARD_SYN") == 0);
    });
}

TEST_CASE("exclude: a socket that was let past is held to it, and captured when it connects to something else") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.exclusions = {.outbound_ports = {8080}};
        daemon.enrol();
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd excluded = listen_in(where.node(), row.at.node, 8080),
               other = listen_in(where.node(), row.at.node, 8081);
            auto app = connect_in(where.pod(), row.at.node, 8080);
            REQUIRE(app.error == 0);
            CHECK(goes_past(daemon, app.fd.get(), excluded.get(), row.family));
            disconnect(app.fd.get());
            CHECK(reconnect(app.fd.get(), row.at.node, 8081) == 0);
            CHECK(!goes_past(daemon, app.fd.get(), other.get(), row.family));
            // And back: neither note nor mark of its captured life is left.
            disconnect(app.fd.get());
            CHECK(reconnect(app.fd.get(), row.at.node, 8080) == 0);
            CHECK(goes_past(daemon, app.fd.get(), excluded.get(), row.family));
            // A mark of the app's own is nothing to us either way.
            auto marked = connect_in(where.pod(), row.at.node, 8080, {.mark = 0x77});
            CHECK(marked.error == 0);
            CHECK(goes_past(daemon, marked.fd.get(), excluded.get(), row.family));
        }
        CHECK(daemon.count("CONNECT_EXCLUDED_PORT") == 6);
        CHECK(daemon.count("CONNECT_CAPTURED") == 2);
    });
}

TEST_CASE("exclude: a rule in the pod that leads an excluded connection elsewhere does not lead it out") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.exclusions = {.outbound_ports = {8080}};
        daemon.enrol();
        Tap wire{where};
        Fd other = listen_in(where.node(), ipv4.node, 8081);
        where.run("ip netns exec $POD iptables -t nat -A OUTPUT -p tcp --dport 8080 -j DNAT --to " +
                  std::string{ipv4.node} + ":8081");
        auto app = connect_in(where.pod(), ipv4.node, 8080);
        CHECK(app.error != 0);
        CHECK(!accept_from(other.get(), 50));
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("CONNECT_EXCLUDED_PORT") == 1);
        CHECK(daemon.count("GUARD_SYN") >= 1);
    });
}

TEST_CASE("exclude: a dead daemon's pod goes on with what it excludes, and with nothing else") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.exclusions = {.outbound_ports = {8080}};
        daemon.enrol();
        daemon.kill();
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd out = listen_in(where.node(), row.at.node, 8080);
            CHECK(connect_in(where.pod(), row.at.node, 8080).error == 0);
            CHECK(connect_in(where.pod(), row.at.node, 8081).error == EHOSTUNREACH);
            CHECK(bool(accept_from(out.get())));
        }
    });
}

TEST_CASE("exclude: a successor excludes what its own configuration says, not what the one before it did") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon first{where, after.instance};
        first.exclusions = {.outbound_ports = {8080}};
        first.enrol();
        first.kill();
        Daemon second{where, after.instance};
        second.exclusions = {.outbound_ports = {8081}};
        second.enrol();
        Fd old = listen_in(where.node(), ipv4.node, 8080), fresh = listen_in(where.node(), ipv4.node, 8081);
        auto to_old = connect_in(where.pod(), ipv4.node, 8080), to_fresh = connect_in(where.pod(), ipv4.node, 8081);
        CHECK(!goes_past(second, to_old.fd.get(), old.get(), AF_INET));
        CHECK(goes_past(second, to_fresh.fd.get(), fresh.get(), AF_INET));
    });
}

TEST_CASE("exclude: what somebody else writes into the row is not believed for long; what does not fit is refused") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.exclusions = {.inbound_ports = {9100}};
        daemon.enrol();
        Fd pods{bpf_obj_get(("/sys/fs/bpf/culvert/" + after.instance + "/cv_pods").c_str())};
        cv_pod_key key{};
        cv_pod written{}, now{};
        REQUIRE(bpf_map_get_next_key(pods.get(), nullptr, &key) == 0);
        REQUIRE(bpf_map_lookup_elem(pods.get(), &key, &written) == 0);
        CHECK(+written.excludes == CV_EXCLUDES_INBOUND);
        CHECK(written.inbound_ports[0] == 9100);
        cv_pod opened = written;
        REQUIRE(capture::put_exclusions(opened, {.outbound_cidrs = {range("10.0.0.0/8")}}).has_value());
        CHECK(+opened.excludes == CV_EXCLUDES_OUTBOUND);
        REQUIRE(bpf_map_update_elem(pods.get(), &key, &opened, BPF_EXIST) == 0);
        daemon.handle_events(800);
        REQUIRE(bpf_map_lookup_elem(pods.get(), &key, &now) == 0);
        CHECK(std::memcmp(&now, &written, sizeof now) == 0);

        state::Exclusions too_many;
        for (std::uint16_t port = 1; port <= 17; ++port) too_many.outbound_ports.push_back(port);
        CHECK(!daemon->exclude("uid-1", too_many).has_value());
        REQUIRE(bpf_map_lookup_elem(pods.get(), &key, &now) == 0);
        CHECK(std::memcmp(&now, &written, sizeof now) == 0);
        CHECK(!daemon->exclude("nobody", {}).has_value());
    });
}

}

}
