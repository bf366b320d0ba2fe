// SPDX-License-Identifier: Apache-2.0
// However an app makes its socket and connects it, the call goes through a tunnel, and nothing of it is on the wire.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "app_socket.hpp"
#include "finally.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "uring.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view early_secret = "in-the-syn:";

IpAddress second_of(const Pod& pod, Family family) {
    const std::string node = std::to_string(pod.node());
    return *IpAddress::parse(family == Family::v4 ? "10.71." + node + ".210" : "fd71:0:0:" + node + "::210");
}

IpAddress nobodys(Family family) {
    return *IpAddress::parse(family == Family::v4 ? "203.0.113.9" : "2001:db8::9");
}

// The first words lie in the SYN itself, no cookie asked for.
int connect_with_data(int fd, const sockaddr* to, socklen_t length) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof one);
    const ssize_t sent = ::sendto(fd, early_secret.data(), early_secret.size(), MSG_FASTOPEN, to, length);
    return sent < 0 ? errno : 0;
}

// The kernel holds the SYN back until there is something to say.
int connect_at_first_write(int fd, const sockaddr* to, socklen_t length) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof one);
    ::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof one);
    return ::connect(fd, to, length) == 0 ? 0 : errno;
}

// Which congestion control the pod's connections have that fit the filter, theirs and the proxy's: one word for all.
std::string control_of(const Pod& pod, const std::string& filter) {
    std::istringstream words{must({"ss", "-HtniO", "state", "established", filter}, pod.netns())};
    std::set<std::string> found;
    for (std::string word; words >> word;)
        if (word == "reno" || word == "cubic" || word == "bbr") found.insert(word);
    return found.size() == 1 ? *found.begin() : std::to_string(found.size()) + " controls";
}

}

TEST_SUITE("sockets") {

TEST_CASE("socket: of IPv4, of IPv6, or of IPv6 for an IPv4 target, it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {});
        if (family == Family::v4) check_sealed(world, family, {.mapped = true});
    }
}

TEST_CASE("socket: bound to a device before connect, with rights or without, it is captured" BOTH_FAMILIES EBPF_ONLY(
    "what the rules redirect to loopback would still have to leave by that device")) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {.prepare = bind_to_device});
        check_sealed(world, family, without_rights({.prepare = bind_to_device}));
        if (family == Family::v4)
            check_sealed(world, family, without_rights({.prepare = bind_to_device, .mapped = true}));
    }
}

TEST_CASE("socket: bound to the pod's own address or to a second one, it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        SecondAddress second{world.client, second_of(world.client, family)};
        for (const IpAddress& ip : {world.client.ip(family), second_of(world.client, family)})
            check_sealed(world, family, {.from = SocketAddress{ip, 0}});
    }
}

TEST_CASE("socket: after the pod has lost the address that a tunnel comes from, calls go on by another" IPV6) {
    World world;
    const Family v6 = Family::v6;
    const IpAddress gone = second_of(world.client, v6);
    Server far{world.far.netns(), 8080, apps::echo};
    const auto answered = [&](const std::string& text) {
        try {
            return world.client.dial(world.far.at(v6, 8080)).echoes(text);
        } catch (const std::exception&) {
            return false;
        }
    };
    {
        // The newest address is the one that IPv6 chooses, for the tunnels of either worker.
        SecondAddress second{world.client, gone};
        for (int call = 0; call < 16; ++call) CHECK(answered("before"));
        CHECK(std::ranges::all_of(far.guests(), [&](const Server::Guest& guest) { return guest.from.ip == gone; }));
    }
    const Stopwatch watch;
    int lost = 0;
    for (int call = 0; call < 16; ++call) lost += !answered("after");
    CHECK(lost <= 2);  // one on each tunnel: its words may have arrived, and are not said again
    CHECK(watch.elapsed() < 8s);
    CHECK(far.last_guest().from.ip == world.client.ip(v6));
    CHECK(world.one.access_log()
              .wait_for({{"error", "h2 failed: the pod no longer has the address that the tunnel came from"}})
              .raw != "");
}

TEST_CASE("socket: bound to an address that is nobody's (TRANSPARENT), it is captured" BOTH_FAMILIES EBPF_ONLY(
    "the redirected SYN keeps the foreign source, and the proxy's answer to it is routed out of the pod")) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {.prepare = [&](int fd) { bind_anywhere(fd, true, {nobodys(family), 0}); }});
    }
}

TEST_CASE("socket: bound to an address that the pod only gets later (FREEBIND), it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        std::optional<SecondAddress> later;
        const IpAddress second = second_of(world.client, family);
        const auto bind_early = [&](int fd) {
            later.reset();
            bind_anywhere(fd, false, {second, 0});
            later.emplace(world.client, second);
        };
        check_sealed(world, family, {.prepare = bind_early});
    }
}

TEST_CASE("socket: disconnected and connected anew, it is captured or left alone by its new target" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server far{world.far.netns(), 8080, apps::greet("far ")};
        Server near{world.near.netns(), 8080, apps::greet("near")};
        Server self{world.client.netns(), 8080, apps::greet("self")};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        Connection app = world.client.dial(world.client.at(family, 8080));
        CHECK(app.receive(4) == "self");
        for (int round = 0; round < 2; ++round) {
            CHECK(app.reconnect(world.far.at(family, 8080)) == 0);
            CHECK(app.receive(4) == "far ");
            CHECK(app.reconnect(world.vip("near", family)) == 0);
            CHECK(app.receive(4) == "near");
            CHECK(app.local().ip == world.client.ip(family));
            CHECK(app.reconnect(world.client.at(family, 8080)) == 0);
            CHECK(app.receive(4) == "self");
            CHECK(self.guests().back().from == app.local());
        }
        const std::vector<IpAddress> targets{world.far.ip(family), world.near.ip(family), world.vip("near", family).ip};
        CHECK(let_out(cable.packets(), targets, "near") == "");
    }
}

TEST_CASE("socket: with data in its SYN (TCP Fast Open), it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {.connect = connect_with_data}, early_secret);
        check_sealed(world, family, {.connect = connect_at_first_write});
    }
}

TEST_CASE("socket: of MPTCP, with more addresses to open subflows from, it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const IpAddress second = second_of(world.client, family);
        SecondAddress address{world.client, second};
        must({"ip", "mptcp", "endpoint", "add", second.to_string(), "dev", "eth0", "subflow", "fullmesh"},
             world.client.netns());
        Finally forget{[&] { must({"ip", "mptcp", "endpoint", "flush"}, world.client.netns()); }};
        check_sealed(world, family, {.protocol = IPPROTO_MPTCP});
        if (family == Family::v4) check_sealed(world, family, {.mapped = true, .protocol = IPPROTO_MPTCP});
    }
}

TEST_CASE("socket: connected by an io_uring, by the app or by a kernel thread, it is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {.connect = uring_connect});
        check_sealed(world, family, {.connect = sqpoll_connect});
    }
}

TEST_CASE(
    "socket: what stays on the node has reno, whatever the pods' default is; what leaves it has that" BOTH_FAMILIES
        EBPF_ONLY("it is cv_sockops that chooses")) {
    World world;
    for (const Pod* pod : {&world.client, &world.near, &world.far})
        must({"sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic"}, pod->netns());
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server far{world.far.netns(), 8080, apps::echo};
        Server near{world.near.netns(), 8081, apps::echo};
        auto to_far = world.client.dial(world.far.at(family, 8080));
        auto to_near = world.client.dial(world.near.at(family, 8081));
        REQUIRE(to_far.echoes("away"));
        REQUIRE(to_near.echoes("around the corner"));
        for (const char* end : {"dport = 8080", "sport = 8080"}) {
            CHECK(control_of(world.client, end) == "reno");  // the app's, and the one that the proxy accepted
            CHECK(control_of(world.far, end) == "reno");     // the leg, and the one that the app accepted
        }
        const std::string to = world.far.at(family, 15008).to_string(), by = world.near.at(family, 15008).to_string();
        CHECK(control_of(world.client, "dst " + to) == "cubic");
        CHECK(control_of(world.far, "src " + to) == "cubic");
        CHECK(control_of(world.client, "dst " + by) == "reno");
        CHECK(control_of(world.near, "src " + by) == "reno");
    }
}

}
