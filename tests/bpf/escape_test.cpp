// SPDX-License-Identifier: Apache-2.0
// What an app, or somebody outside, might try to get past the proxy.
#include "daemon.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>

namespace culvert::test {

namespace {

// A bare SYN, its checksums left wrong: nobody who matters looks at them before the guard does.
std::string syn_frame(const char* to_mac, const char* from, const char* to) {
    auto source = *base::IpAddress::parse(from), destination = *base::IpAddress::parse(to);
    std::string frame{to_mac, 6};
    frame += std::string("\x02\0\0\0\x77\x09", 6);
    std::string tcp("\x9c\x40\0\x50\0\0\0\1\0\0\0\0\x50\x02\xff\xff\0\0\0\0", 20);
    auto bytes = [](const base::IpAddress& ip, std::size_t skip) {
        return std::string(reinterpret_cast<const char*>(ip.bytes.data()) + skip, 16 - skip);
    };
    if (source.is_v4())
        return frame + std::string("\x08\0\x45\0\0\x28\0\0\0\0\x40\x06\0\0", 14) + bytes(source, 12) +
               bytes(destination, 12) + tcp;
    return frame + std::string("\x86\xdd\x60\0\0\0\0\x14\x06\x40", 10) + bytes(source, 0) + bytes(destination, 0) + tcp;
}

void send_frame(int netns, const char* device, const std::string& frame) {
    auto sent = base::in_netns(netns, [&]() -> base::Result<> {
        Fd raw{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_protocol = htons(ETH_P_ARP);  // a lie, as a forger would tell it
        to.sll_ifindex = static_cast<int>(::if_nametoindex(device));
        if (::sendto(raw.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0)
            return base::errno_while("send a frame");
        return {};
    });
    // The guard's drop is told to the sender.
    if (!sent) CHECK(sent.error().code.value() == ENOBUFS);
}

}

TEST_SUITE("escape") {

TEST_CASE("escape: a captured socket that is bound or marked anew in mid-flow puts nothing on the wire") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto bound = connect_in(where.pod(), row.at.node, 80), marked = connect_in(where.pod(), row.at.node, 80);
            REQUIRE(bound.error + marked.error == 0);
            int zero = 0;
            REQUIRE(::setsockopt(bound.fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0);
            REQUIRE(::setsockopt(marked.fd.get(), SOL_SOCKET, SO_MARK, &zero, sizeof zero) == 0);
            ::send(bound.fd.get(), "secret", 6, 0);
            ::send(marked.fd.get(), "secret", 6, 0);
            ::usleep(50000);
        }
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("GUARD_CAPTURED") >= 2);
    });
}

TEST_CASE("escape: raw SYNs do not leave the pod") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families)
            send_frame(where.pod(), "eth0", syn_frame("\2\0\0\0\x77\1", row.at.pod, row.at.node));
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("GUARD_SYN") == 2);
    });
}

TEST_CASE("escape: a raw SYN in a stranger's name does not make the pod send that stranger a reset") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        where.run("ip netns exec $POD sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        Tap wire{where};
        for (auto [from, to] : {std::pair{"198.51.100.9", ipv4.vip}, std::pair{"fd99::9", ipv6.vip}}) {
            std::string frame = syn_frame("\2\0\0\0\x77\1", from, to);
            send_frame(where.pod(), "eth0", frame);
            send_frame(where.pod(), "eth0", frame.replace(6, 6, std::string("\2\0\0\0\x77\2", 6)));  // eth0's own
        }
        ::usleep(20000);
        CHECK(daemon.count("GUARD_SYN") == 4);
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("escape: a SYN from outside in the pod's own name is dropped at the door") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Fd app = listen_in(where.pod(), "::", 80);
        for (const FamilyRow& row : families)
            send_frame(where.node(), "veth0", syn_frame("\2\0\0\0\x77\2", row.at.pod, row.at.pod));
        CHECK(daemon.count("GUARD_FORGED") == 2);
        CHECK(daemon.count("PASS_SELF") == 0);
    });
}

TEST_CASE("escape: a SYN from outside that copies a leg's tuple is dropped at the door") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            const char* client = row.family == AF_INET ? "198.51.100.7" : "fd99::7";
            Fd app = listen_in(where.pod(), row.at.pod, 80);
            std::string frame = syn_frame("\2\0\0\0\x77\2", client, row.at.pod);
            send_frame(where.node(), "veth0", frame);
            CHECK(daemon.count("GUARD_FORGED") == (row.family == AF_INET ? 0 : 1));
            Fd leg = leg_from(daemon, where.pod(), client, OwnSocket::inbound_leg, 40000);
            CHECK(reconnect(leg.get(), row.at.pod, 80) == 0);
            send_frame(where.node(), "veth0", frame);
            CHECK(daemon.count("GUARD_FORGED") == (row.family == AF_INET ? 1 : 2));
        }
    });
}

TEST_CASE("escape: a listener with a mark of its own still answers the leg") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Fd app = listen_in(where.pod(), row.at.pod, 8080, 0x10539);
            Fd leg = leg_from(daemon, where.pod(), row.family == AF_INET ? "198.51.100.7" : "fd99::7");
            CHECK(reconnect(leg.get(), row.at.pod, 8080) == 0);
            Fd closed = leg_from(daemon, where.pod(), row.family == AF_INET ? "198.51.100.7" : "fd99::7");
            CHECK(reconnect(closed.get(), row.at.pod, 8081) == ECONNREFUSED);  // fwmark_reflect brings the RST home
        }
        CHECK(daemon.count("LISTEN_MARK_ZEROED") == 2);
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("escape: a v4-mapped socket is an IPv4 one") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        auto made = base::in_netns(where.pod(), [] { return Fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
        sockaddr_in6 to{};
        to.sin6_family = AF_INET6;
        to.sin6_port = htons(80);
        ::inet_pton(AF_INET6, "::ffff:10.96.0.10", &to.sin6_addr);
        CHECK(::connect(made->get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        CHECK(base::local_address(proxy.get()).ip.to_string() == ipv4.vip);
        for (auto [home, reason] :
             {std::pair{"::ffff:127.0.0.1", "CONNECT_LOOPBACK"}, std::pair{"::ffff:10.77.0.2", "CONNECT_SELF"}}) {
            CAPTURE(home);
            Fd app = listen_in(where.pod(), "0.0.0.0", 8080);
            auto mapped =
                base::in_netns(where.pod(), [] { return Fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
            sockaddr_in6 here{};
            here.sin6_family = AF_INET6;
            here.sin6_port = htons(8080);
            ::inet_pton(AF_INET6, home, &here.sin6_addr);
            CHECK(::connect(mapped->get(), reinterpret_cast<sockaddr*>(&here), sizeof here) == 0);
            CHECK(bool(accept_from(app.get())));
            CHECK(daemon.count(reason) == 1);
        }
        daemon.kill();
        auto refused =
            base::in_netns(where.pod(), [] { return Fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
        CHECK(::connect(refused->get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == -1);
        CHECK(errno == EHOSTUNREACH);
    });
}

TEST_CASE("escape: a captured socket that disconnects and connects again is captured again") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Fd app_server4 = listen_in(where.pod(), "0.0.0.0", 8080), app_server6 = listen_in(where.pod(), ipv6.pod, 8080);
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.vip, 80);
            REQUIRE(bool(daemon.accept(Arrival::outbound, row.family)));
            disconnect(app.fd.get());
            CHECK(reconnect(app.fd.get(), row.at.vip, 81) == 0);
            CHECK(bool(daemon.accept(Arrival::outbound, row.family)));
            disconnect(app.fd.get());
            CHECK(reconnect(app.fd.get(), row.at.pod, 8080) == 0);  // and to itself, alone
        }
        CHECK(daemon.count("CONNECT_SELF") == 2);
    });
}

TEST_CASE("escape: an app that closes with a reset is heard by the proxy, and by nobody on the wire") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.node, 80);
            Fd proxy = daemon.accept(Arrival::outbound, row.family);
            REQUIRE(bool(proxy));
            linger reset{1, 0};
            ::setsockopt(app.fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            app.fd.reset();
            ::usleep(20000);
            char heard[8];
            CHECK(::recv(proxy.get(), heard, sizeof heard, 0) == -1);
            CHECK(errno == ECONNRESET);
        }
        CHECK(wire.tcp_packets() == 0);
        CHECK(daemon.count("GUARD_CAPTURED") == 0);
    });
}

TEST_CASE("own dial to the own pod: comes in by the front door") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto dial =
                base::in_netns(where.pod(), [&] { return Fd{::socket(row.family, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
            REQUIRE(daemon->claim(dial->get(), OwnSocket::dial).has_value());
            CHECK(reconnect(dial->get(), row.at.pod, 15008) == 0);
            CHECK(bool(daemon.accept(Arrival::inbound_hbone, row.family)));
        }
    });
}

}

}
