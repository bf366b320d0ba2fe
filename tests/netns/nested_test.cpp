// SPDX-License-Identifier: Apache-2.0
// Containers and VMs inside a pod: the pod's outbound when its line in the file names their interface, refused when
// not.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include "nested.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

void shell(const std::string& script, int netns) {
    must({"sh", "-ec", script}, netns);
}

struct NestedWorld {
    explicit NestedWorld(bool named)
        : world{[&](Mesh& mesh) {
              if (named) mesh.workloads[0].virtual_interfaces = {"br-vm"};  // client's
          }} {}
    World world;
    Nested nested{world.client};
};

// The daemon hears of the bridge a moment after it came.
void wait_until_captured(NestedWorld& lab, Family family) {
    Server echo{lab.world.far.netns(), 8090, apps::echo};
    const auto calls = [&] {
        try {
            const Dial dial{.to = lab.world.far.at(family, 8090), .limit = 500ms};
            return Connection::open(lab.nested.inner.get(), dial).echoes(secret);
        } catch (const std::exception&) {
            return false;
        }
    };
    CHECK(eventually(15s, calls));
}

std::string datagram(int from, int to, const SocketAddress& target) {
    const int family = target.ip.family();
    sockaddr_storage raw{};
    const socklen_t length = target.to(raw);
    Fd receiver = visit(to, [&] { return Fd{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)}; });
    Fd sender = visit(from, [&] { return Fd{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)}; });
    const timeval limit{3, 0};
    ::setsockopt(receiver.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_storage any{};
    const socklen_t any_length = SocketAddress{IpAddress::any(family), target.port}.to(any);
    REQUIRE(::bind(receiver.get(), reinterpret_cast<sockaddr*>(&any), any_length) == 0);
    ::sendto(sender.get(), "datagram", 8, 0, reinterpret_cast<sockaddr*>(&raw), length);
    char bytes[16];
    const ssize_t n = ::recv(receiver.get(), bytes, sizeof bytes, 0);
    return n < 0 ? "" : std::string(bytes, static_cast<std::size_t>(n));
}

}

TEST_SUITE("nested") {

TEST_CASE("nested: what a container in the pod sends to the world is the pod's outbound" BOTH_FAMILIES) {
    NestedWorld lab{true};
    World& world = lab.world;
    for (Family family : families()) {
        CAPTURE(to_string(family));
        wait_until_captured(lab, family);
        Server far{world.far.netns(), 8080, apps::echo};
        Server plain{world.plain2.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        world.mark();
        for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)}) {
            CAPTURE(target.to_string());
            Connection app = Connection::open(lab.nested.inner.get(), {.to = target});
            CHECK(app.echoes(secret));
            CHECK(app.peer() == target);
            CHECK(let_out(cable.packets(), {target.ip, world.far.ip(family)}, secret) == "");
        }
        world.two.access_log().wait_for(
            {{"direction", "inbound"}, {"src.identity", world.mesh.identity(world.client)}});
        const SocketAddress outside = world.plain2.at(family, 8080);
        CHECK(Connection::open(lab.nested.inner.get(), {.to = outside}).echoes("plain out"));
        CHECK(plain.guest(0).from.ip == world.client.ip(family));
        world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.addr", outside.to_string()}});
    }
}

TEST_CASE("nested: containers on one bridge talk as they are" BOTH_FAMILIES EBPF_ONLY(
    "bridges call iptables, so its rules redirect what goes from one port to another")) {
    NestedWorld lab{true};
    World& world = lab.world;
    for (Family family : families()) {
        CAPTURE(to_string(family));
        wait_until_captured(lab, family);
        Server second{lab.nested.second.get(), 8080, apps::echo};
        const SocketAddress neighbour{Nested::ip(family, 3), 8080};
        world.mark();
        // Until the daemon has seen the bridge's last port, its guard takes it for a way out.
        const auto called = [&] { return attempt(lab.nested.inner.get(), {.to = neighbour}).error == 0; };
        CHECK(eventually(15s, called));
        CHECK(Connection::open(lab.nested.inner.get(), {.to = neighbour}).echoes("on the bridge"));
        CHECK(second.guest(0).from.ip == Nested::ip(family, 2));
        for (const AccessLine& line : world.one.access_log().since_mark())
            CHECK(line["dst.addr"] != neighbour.to_string());
    }
}

TEST_CASE("nested: a container's UDP passes as it is, to its neighbour and to the world" BOTH_FAMILIES) {
    NestedWorld lab{true};
    const Pod& outside = lab.world.plain2;
    for (Family family : families()) {
        CAPTURE(to_string(family));
        wait_until_captured(lab, family);
        const int inner = lab.nested.inner.get();
        CHECK(datagram(inner, lab.nested.second.get(), {Nested::ip(family, 3), 5353}) == "datagram");
        CHECK(datagram(inner, outside.netns(), outside.at(family, 5353)) == "datagram");
    }
}

TEST_CASE(
    "nested: the pod itself is called as from outside, and a port of its own that is closed refuses" BOTH_FAMILIES) {
    NestedWorld lab{true};
    World& world = lab.world;
    for (Family family : families()) {
        CAPTURE(to_string(family));
        wait_until_captured(lab, family);
        Server own{world.client.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        for (const IpAddress& ip : {world.client.ip(family), Nested::ip(family, 1)}) {
            CAPTURE(ip.to_string());
            const SocketAddress target{ip, 8080};
            world.mark();
            Connection app = Connection::open(lab.nested.inner.get(), {.to = target});
            CHECK(app.echoes(secret));
            CHECK(app.peer() == target);
            app.close();
            // The mesh knows the pod by one of the two.
            const char* key = ip == world.client.ip(family) ? "dst.hbone_addr" : "dst.addr";
            world.one.access_log().wait_for({{"direction", "outbound"}, {key, target.to_string()}});
            const std::string end = fate(lab.nested.inner.get(), {.to = {ip, 9}});
            CHECK_MESSAGE((end == "end" || end == "reset"), end);  // docs/ARCHITECTURE.md, Ends
        }
        CHECK(let_out(cable.packets(), {Nested::ip(family, 2)}, secret) == "");
    }
}

TEST_CASE("nested: what the file does not name is refused at once, and nothing of it is let out" BOTH_FAMILIES
              EBPF_ONLY("its rules see what the pod's own sockets send; what is forwarded passes them by")) {
    NestedWorld lab{false};
    World& world = lab.world;
    ReasonCount refused{world.one, "GUARD_SYN"};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server far{world.far.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        for (const SocketAddress& target : {world.far.at(family, 8080), world.plain2.at(family, 8080)}) {
            const Attempt attempt = culvert::test::attempt(lab.nested.inner.get(), {.to = target});
            CHECK(attempt.error == ECONNREFUSED);
            CHECK(attempt.took < 900ms);  // a SYN that nobody refuses is sent again after 1 s
            CHECK(let_out(cable.packets(), {target.ip}, secret) == "");
        }
        CHECK(datagram(lab.nested.inner.get(), world.plain2.netns(), world.plain2.at(family, 5353)) == "datagram");
    }
    CHECK(refused.rises(4));
}

TEST_CASE(
    "nested: a container with a link address of its own (macvlan) on the pod's cable is refused at once" BOTH_FAMILIES
        EBPF_ONLY("its rules are of the pod's netns, and this one is another")) {
    World& world = World::shared();
    Netns inner{"m"};
    shell("ip link add macvlan0 link eth0 netns " + inner.path() + " type macvlan mode bridge", world.client.netns());
    shell(
        "ip address add 10.71.1.99/24 dev macvlan0; ip address add fd71:0:0:1::99/64 dev macvlan0 nodad; "
        "ip link set macvlan0 up; ip route add default via 10.71.1.1; ip route add default via fd71:0:0:1::1",
        inner.get());
    ReasonCount refused{world.one, "GUARD_SYN"};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server far{world.far.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        const Attempt attempt = culvert::test::attempt(inner.get(), {.to = world.far.at(family, 8080)});
        CHECK(attempt.error == ECONNREFUSED);
        CHECK(attempt.took < 900ms);  // a SYN that nobody refuses is sent again after 1 s
        CHECK(let_out(cable.packets(), {world.far.ip(family)}, secret) == "");
    }
    CHECK(refused.rises(2));
}

}
