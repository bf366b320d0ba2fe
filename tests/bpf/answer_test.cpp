// SPDX-License-Identifier: Apache-2.0
// What answers a connection from outside: our listeners, or the app by mistake.
#include "daemon.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "support/wait.hpp"

namespace culvert::test {

namespace {

const char* client_of(int family) {
    return family == AF_INET ? "198.51.100.7" : "fd99::7";
}

// A socket of the node's that is nobody's probe, as one of another node would be.
Fd stranger(Daemon& daemon, const Namespaces& where, int family) {
    auto made = base::in_netns(where.node(),
                               [&] { return Fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}; });
    REQUIRE(daemon->claim(made->get(), OwnSocket::dial).has_value());
    return std::move(*made);
}

// Somebody took it off, as root of the node can.
void take_lookup_off(const Namespaces& where, const Daemon& daemon) {
    where.run("bpftool link detach pinned /sys/fs/bpf/culvert/" + daemon.instance() + "/pods/*/lookup");
}

}

TEST_SUITE("answer") {

TEST_CASE("answer: with cv_lookup gone the app answers no stranger, but still a probe") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        take_lookup_off(where, daemon);
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            Fd client = stranger(daemon, where, row.family);
            CHECK(reconnect(client.get(), row.at.pod, 8080, 100) == ETIMEDOUT);
            CHECK(!accept_from(app.get(), 20));
        }
        CHECK(wire.look().syn_acks == 0);
        CHECK(daemon.count("GUARD_ANSWER") >= 2);
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8081);
            CHECK(connect_in(where.node(), row.at.pod, 8081).error == 0);
            CHECK(bool(accept_from(app.get())));
        }
    });
}

TEST_CASE("answer: an app that answers before the handshake is over (TFO) is stopped, too") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        take_lookup_off(where, daemon);
        where.run(
            "ip netns exec $POD sysctl -q -w net.ipv4.tcp_fastopen=0x203; "
            "ip netns exec $NODE sysctl -q -w net.ipv4.tcp_fastopen=5");
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            int queue = 8;
            REQUIRE(::setsockopt(app.get(), IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue) == 0);
            Fd client = stranger(daemon, where, row.family);
            sockaddr_storage raw{};
            socklen_t size = base::SocketAddress{*base::IpAddress::parse(row.at.pod), 8080}.to(raw);
            ::sendto(client.get(), "early", 5, MSG_FASTOPEN, reinterpret_cast<sockaddr*>(&raw), size);
            Fd accepted = accept_from(app.get());
            REQUIRE(bool(accepted));  // or this kernel has no TFO, and the test no point
            CHECK(::send(accepted.get(), "secret", 6, 0) == 6);
            char heard[8];
            CHECK(!eventually(100ms, [&] { return ::recv(client.get(), heard, sizeof heard, 0) > 0; }));
        }
        CHECK(wire.look().syn_acks == 0);
        CHECK(daemon.count("GUARD_ANSWER") >= 4);
    });
}

TEST_CASE("answer: our listeners do, with SYN cookies and again when it was lost") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (int cookies : {1, 2 /* always */}) {
            CAPTURE(cookies);
            where.run("ip netns exec $POD sysctl -q -w net.ipv4.tcp_syncookies=" + std::to_string(cookies));
            for (const FamilyRow& row : families) {
                CAPTURE(row.name);
                for (auto [port, arrival] :
                     {std::pair{8080, Arrival::inbound_plain}, std::pair{15008, Arrival::inbound_hbone}}) {
                    Fd client = stranger(daemon, where, row.family);
                    CHECK(reconnect(client.get(), row.at.pod, static_cast<std::uint16_t>(port)) == 0);
                    CHECK(bool(daemon.accept(arrival, row.family)));
                }
            }
        }
        where.run(
            "ip netns exec $POD sysctl -q -w net.ipv4.tcp_syncookies=0; for ip in iptables ip6tables; do "
            "ip netns exec $NODE $ip -A INPUT -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP; done");
        Tap wire{where};
        std::vector<Fd> unheard;
        for (const FamilyRow& row : families) {
            unheard.push_back(stranger(daemon, where, row.family));
            CHECK(reconnect(unheard.back().get(), row.at.pod, 8080, 0) == ETIMEDOUT);
        }
        int answers = 0;
        CHECK(eventually(5s, [&] { return (answers += wire.look().syn_acks) >= 6; }));
        CHECK(daemon.count("GUARD_ANSWER") == 0);
    });
}

TEST_CASE("answer: an app's mark, put on its listener after it began to listen, does not let the leg's answer out") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            int forged = CV_MARK_PROXY;
            REQUIRE(::setsockopt(app.get(), SOL_SOCKET, SO_MARK, &forged, sizeof forged) == 0);
            Fd leg = leg_from(daemon, where.pod(), client_of(row.family));
            CHECK(reconnect(leg.get(), row.at.pod, 8080, 100) == ETIMEDOUT);
        }
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("GUARD_ANSWER") >= 2);
    });
}

TEST_CASE(
    "answer: the app's end of a leg sends nothing to the real client, whatever it does to its socket or the rules") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        struct End {
            Fd leg;
            Fd app;
        };
        auto connected = [&](const FamilyRow& row, const Fd& app) {
            Fd leg = leg_from(daemon, where.pod(), client_of(row.family));
            REQUIRE(reconnect(leg.get(), row.at.pod, 8080) == 0);
            Fd accepted = accept_from(app.get());
            REQUIRE(bool(accepted));
            return End{std::move(leg), std::move(accepted)};
        };
        std::vector<End> ends;
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            char heard[8];
            End marked = connected(row, app), bound = connected(row, app), ruleless = connected(row, app);
            CHECK(::send(ruleless.app.get(), "hello", 5, 0) == 5);
            CHECK(eventually(5s, [&] { return ::recv(ruleless.leg.get(), heard, sizeof heard, 0) == 5; }));
            int zero = 0;
            REQUIRE(::setsockopt(marked.app.get(), SOL_SOCKET, SO_MARK, &zero, sizeof zero) == 0);
            REQUIRE(::setsockopt(bound.app.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0);
            for (End* end : {&marked, &bound, &ruleless}) ends.push_back(std::move(*end));
        }
        for (const char* ip : {"ip", "ip -6"})
            where.run(std::string{ip} + " -n $POD rule flush; " + ip + " -n $POD rule add lookup main pref 32766; " +
                      ip + " -n $POD rule add lookup local pref 0");
        for (const End& end : ends) ::send(end.app.get(), "secret", 6, 0);
        CHECK(eventually(5s, [&] { return daemon.count("GUARD_CAPTURED") >= 6; }));
        CHECK(wire.tcp_packets() == 0);
        // The note does not outlive what it says: the same sockets may talk to their own pod.
        Fd here = listen_in(where.pod(), ipv4.pod, 8082);
        disconnect(ends.front().app.get());
        CHECK(reconnect(ends.front().app.get(), ipv4.pod, 8082) == 0);
    });
}

}

}
