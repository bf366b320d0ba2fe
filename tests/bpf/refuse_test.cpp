// SPDX-License-Identifier: Apache-2.0
// "Refused", from the guard to the pod's own sockets.
#include "daemon.hpp"
#include "packets.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <cstring>

namespace culvert::test {

namespace {

// So that connects reach the guard.
void take_sockops_off(const Namespaces& where, const Daemon& daemon) {
    where.run("bpftool link detach pinned /sys/fs/bpf/culvert/" + daemon.instance() + "/sockops");
}

// The guard's way out of eth0 on kernels without TCX.
void use_clsact(const Namespaces& where, const Daemon& daemon) {
    std::string pods = "/sys/fs/bpf/culvert/" + daemon.instance() + "/pods", program = pods + "/clsact_program";
    where.run("cd " + pods + "/*; link=$(echo $PWD/guard_out_*); " +
              "id=$(bpftool link show pinned $link | sed -n 's/.* prog \\([0-9]*\\).*/\\1/p'); " +
              "bpftool prog pin id $id " + program + "; bpftool link detach pinned $link; " +
              "nsenter --net=/run/netns/$POD sh -c 'tc qdisc add dev eth0 clsact; " +
              "tc filter add dev eth0 egress bpf da pinned " + program + "'; rm " + program);
    REQUIRE(where.run("tc -n $POD filter show dev eth0 egress").find("cv_out_guard") != std::string::npos);
}

// An interface without an Ethernet header; what leaves by it can be read here.
Fd open_tunnel(const Namespaces& where) {
    auto made = base::in_netns(where.pod(), [] {
        Fd tunnel{::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)};
        ifreq request{};
        std::strcpy(request.ifr_name, "tun0");
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (::ioctl(tunnel.get(), TUNSETIFF, &request) != 0) tunnel.reset();
        return tunnel;
    });
    where.run(
        "ip -n $POD link set tun0 up; ip -n $POD addr add 10.79.0.2/24 dev tun0;"
        "ip -n $POD addr add fd79::2/64 dev tun0 nodad");
    return std::move(*made);
}

int tcp_packets_in(const Fd& tunnel) {
    int seen = 0;
    unsigned char packet[2048];
    while (::read(tunnel.get(), packet, sizeof packet) > 0) seen += packet[packet[0] >> 4 == 4 ? 9 : 6] == IPPROTO_TCP;
    return seen;
}

}

TEST_SUITE("refuse") {

TEST_CASE("refuse: a connect that sockops missed is refused at once by every kind of interface, off the wire") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        Fd tunnel = open_tunnel(where);
        REQUIRE(bool(tunnel));
        Fd server4 = listen_in(where.node(), ipv4.node, 80), server6 = listen_in(where.node(), ipv6.node, 80);
        daemon.enrol();
        take_sockops_off(where, daemon);
        Tap wire{where};
        for (const char* device : {static_cast<const char*>(nullptr), "eth0"}) {
            for (const char* to : {ipv4.node, ipv6.node, ipv4.vip, ipv6.vip, "10.79.0.9", "fd79::9"}) {
                if (device && std::string_view{to}.find("79") != std::string_view::npos) continue;
                CAPTURE(to);
                auto app = connect_in(where.pod(), to, 80, {.mark = 0x7000, .device = device});
                CHECK(app.error == ECONNREFUSED);
                CHECK(app.milliseconds < 100);
            }
        }
        CHECK(daemon.count("GUARD_SYN") == 10);
        CHECK(wire.tcp_packets() == 0);
        CHECK(tcp_packets_in(tunnel) == 0);
    });
}

TEST_CASE("refuse: by an interface without a link header, a plain SYN that policies refuse is told so at once") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance};
        daemon.plaintext.rules = {{*state::Cidr::parse("0.0.0.0/0")}, {*state::Cidr::parse("fd79::/64")}};
        Fd tunnel = open_tunnel(where);
        REQUIRE(bool(tunnel));
        daemon.enrol();
        for (bool v4 : {true, false}) {
            CAPTURE(v4);
            const char *outside = v4 ? "10.79.0.9" : "fd79::9", *pod = v4 ? "10.79.0.2" : "fd79::2";
            Bytes packet = v4 ? in_ipv4(outside, 6, tcp(syn)).replace(16, 4, raw_ip(pod, true))
                              : in_ipv6(outside, 6, tcp(syn), pod);
            REQUIRE(::write(tunnel.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size()));
            const std::size_t start = v4 ? 20 : 40;
            Bytes answer;
            for (int waited = 0; waited < 1000 && answer.substr(0, start).find(raw_ip(outside, v4)) == Bytes::npos;
                 waited += 10) {
                Bytes next(2048, '\0');
                const ssize_t size = ::read(tunnel.get(), next.data(), next.size());
                if (size < 0) std::this_thread::sleep_for(std::chrono::milliseconds{10});
                if (size > 0 && next[v4 ? 9 : 6] == IPPROTO_TCP)
                    answer = next.substr(0, static_cast<std::size_t>(size));
            }
            REQUIRE(answer.size() == packet.size());
            CHECK(answer.substr(start, 4) == u16(80) + u16(40000));
            CHECK(answer[start + 13] == '\x14');
        }
        CHECK(daemon.count("POLICY_REFUSED") == 2);
    });
}

TEST_CASE("refuse: by clsact as by TCX") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        take_sockops_off(where, daemon);
        use_clsact(where, daemon);
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            auto app = connect_in(where.pod(), row.at.vip, 80);
            CHECK(app.error == ECONNREFUSED);
            CHECK(app.milliseconds < 100);
        }
        CHECK(daemon.count("GUARD_SYN") == 2);
        CHECK(wire.tcp_packets() == 0);
    });
}

}

}
