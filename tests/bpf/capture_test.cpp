// SPDX-License-Identifier: Apache-2.0
// Which connections meet the proxy, on real sockets.
#include "daemon.hpp"

namespace culvert::test {

TEST_SUITE("capture") {

TEST_CASE("outbound: a connect to an address that nobody owns reaches the proxy, which sees where it was going") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            for (auto [port, mark] : {std::pair{80, 0}, std::pair{15008, 0x539}, std::pair{443, 0x7111}}) {
                CAPTURE(mark);
                auto app = connect_in(where.pod(), row.at.vip, static_cast<std::uint16_t>(port), {.mark = mark});
                CHECK(app.error == 0);
                Fd proxy = daemon.accept(Arrival::outbound, row.family);
                REQUIRE(bool(proxy));
                CHECK(base::local_address(proxy.get()).ip.to_string() == row.at.vip);
                CHECK(base::local_address(proxy.get()).port == port);
                CHECK(base::peer_address(proxy.get()).ip.to_string() == row.at.pod);
                CHECK(base::peer_address(app.fd.get()).ip.to_string() == row.at.vip);
            }
        }
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("CONNECT_CAPTURED") == 6);
        CHECK(daemon.count("TO_OUTBOUND") == 6);
    });
}

TEST_CASE("outbound: a socket bound to the pod's interface is captured too") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.vip, 80, {.device = "eth0"});
            CHECK(app.error == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
        }
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("inbound: a plain connection and a tunnel reach their listeners, also when the app listens there") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        // Of another node: seen from here its sockets are nobody's probes.
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            Fd squatter = listen_in(where.pod(), row.at.pod, 15008);
            for (auto [port, arrival] : {std::pair{8080, Arrival::inbound_plain}, std::pair{9, Arrival::inbound_plain},
                                         std::pair{15008, Arrival::inbound_hbone}}) {
                CAPTURE(port);
                auto claimed = base::in_netns(where.node(), [&] {
                    return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
                });
                REQUIRE(daemon->claim(claimed->get(), OwnSocket::dial).has_value());  // not a probe
                sockaddr_storage raw{};
                socklen_t size =
                    base::SocketAddress{*base::IpAddress::parse(row.at.pod), static_cast<std::uint16_t>(port)}.to(raw);
                ::connect(claimed->get(), reinterpret_cast<sockaddr*>(&raw), size);
                Fd proxy = daemon.accept(arrival, row.family);
                REQUIRE(bool(proxy));
                CHECK(base::local_address(proxy.get()).port == port);
                CHECK(base::peer_address(proxy.get()).ip.to_string() == row.at.node);
            }
            CHECK(!accept_from(app.get(), 20));
            CHECK(!accept_from(squatter.get(), 20));
        }
        CHECK(daemon.count("TO_TUNNEL") == 2);
        CHECK(daemon.count("TO_INBOUND") == 4);
    });
}

TEST_CASE("loopback and own address: left alone") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (auto [any, to] : {std::pair{"0.0.0.0", "127.0.0.1"}, std::pair{"0.0.0.0", ipv4.pod},
                               std::pair{"::", "::1"}, std::pair{"::", ipv6.pod}}) {
            CAPTURE(to);
            Fd app = listen_in(where.pod(), any, 8080);
            auto client = connect_in(where.pod(), to, 8080);
            CHECK(client.error == 0);
            CHECK(bool(accept_from(app.get())));
        }
        CHECK(daemon.count("CONNECT_LOOPBACK") == 2);
        CHECK(daemon.count("CONNECT_SELF") == 2);
        CHECK(daemon.count("CONNECT_CAPTURED") == 0);
    });
}

TEST_CASE("probe: a socket of the node's namespace reaches the app itself") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            auto probe = connect_in(where.node(), row.at.pod, 8080);
            INFO(daemon.reasons());
            CHECK(probe.error == 0);
            CHECK(bool(accept_from(app.get())));
        }
        CHECK(daemon.count("CONNECT_PROBE") == 2);
        CHECK(daemon.count("PASS_PROBE") == 2);
    });
}

TEST_CASE("own sockets: a dial leaves the pod unmarked, a leg in the client's name reaches the app and comes home") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd server = listen_in(where.node(), row.at.node, 80);
            Fd app = listen_in(where.pod(), row.at.pod, 8080);
            auto open_claimed = [&](OwnSocket kind) {
                auto fd = base::in_netns(where.pod(), [&] {
                    return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
                });
                REQUIRE(daemon->claim(fd->get(), kind).has_value());
                return std::move(*fd);
            };
            auto dial_to = [&](int fd, const char* ip, std::uint16_t port) {
                sockaddr_storage raw{};
                socklen_t size = base::SocketAddress{*base::IpAddress::parse(ip), port}.to(raw);
                ::connect(fd, reinterpret_cast<sockaddr*>(&raw), size);
            };
            Fd dial = open_claimed(OwnSocket::dial);
            dial_to(dial.get(), row.at.node, 80);
            CHECK(bool(accept_from(server.get())));

            Fd leg = open_claimed(OwnSocket::inbound_leg);
            int one = 1;
            ::setsockopt(leg.get(), row.family == AF_INET ? SOL_IP : SOL_IPV6,
                         row.family == AF_INET ? 19 /* IP_TRANSPARENT */ : 75 /* IPV6_TRANSPARENT */, &one, sizeof one);
            const char* client = row.family == AF_INET ? "198.51.100.7" : "fd99::7";
            sockaddr_storage raw{};
            socklen_t size = base::SocketAddress{*base::IpAddress::parse(client), 61234}.to(raw);
            REQUIRE(::bind(leg.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
            dial_to(leg.get(), row.at.pod, 8080);
            Fd accepted = accept_from(app.get());
            REQUIRE(bool(accepted));
            CHECK(base::peer_address(accepted.get()).ip.to_string() == client);
            REQUIRE(::send(accepted.get(), "hello", 5, 0) == 5);
            char heard[8];
            ::usleep(20000);
            CHECK(::recv(leg.get(), heard, sizeof heard, 0) == 5);

            auto flow = daemon->flows().claim(leg.get());
            flow.identify("spiffe://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/c/sa/d");
            flow.moved(3, 5);
            std::string dump =
                where.run("bpftool map dump pinned /sys/fs/bpf/culvert/" + daemon.instance() + "/cv_flows");
            CHECK(dump.find("spiffe://cluster.local/ns/a/sa/b") != std::string::npos);
            CHECK(dump.find("CV_FLOW_INBOUND_TUNNEL") != std::string::npos);
        }
        CHECK(daemon.count("CONNECT_OWN") == 2);
        CHECK(daemon.count("PASS_LEG") == 2);
    });
}

TEST_CASE("a pod without IPv6: no IPv6 part is made, IPv4 is captured") {
    on_node(
        [](Namespaces& where) {
            Cleaned after;
            Daemon daemon{where, after.instance};
            daemon.enrol();
            auto app = connect_in(where.pod(), ipv4.vip, 80);
            CHECK(app.error == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, AF_INET)));
        },
        {.pod_has_ipv6 = false});
}

}

}
