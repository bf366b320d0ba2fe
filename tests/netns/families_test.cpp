// SPDX-License-Identifier: Apache-2.0
// Pods that have one family, or had, or have it only on some interfaces: what they have is captured, what they lack
// fails as it would without a mesh.
#include <doctest/doctest.h>

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

#include "outcome.hpp"
#include "persona.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

void set(const Pod& pod, const std::string& key, const std::string& value) {
    must({"sysctl", "-qw", key + "=" + value}, pod.netns());
}

void ip(const Pod& pod, const std::vector<std::string>& words) {
    std::vector<std::string> command{"ip"};
    command.insert(command.end(), words.begin(), words.end());
    must(command, pod.netns());
}

// What an interface loses when IPv6 is switched off on it.
void give_ipv6_back(const Pod& pod) {
    ip(pod, {"address", "replace", pod.ip(Family::v6).to_string() + "/64", "dev", "eth0", "nodad"});
    ip(pod, {"route", "replace", "default", "via", "fd71:0:0:" + std::to_string(pod.node()) + "::1"});
}

// A pod called "odd" on node 1 that `prepare` has made so, enrolled from the start.
struct OddWorld {
    explicit OddWorld(const std::function<void(Pod&)>& prepare) {
        prepare(odd);
        world.describe(odd);
        world.join(odd);
    }
    World world;
    Pod& odd = world.plain1;
};

// Out to the mesh and out of it, in from both; nothing but tunnels on the cable where there should be.
void check_captured(World& world, Pod& pod, Family family) {
    CAPTURE(to_string(family));
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Server own{pod.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(pod.node()), pod.host_link()};
    Connection app = pod.dial(world.far.at(family, 8080));
    CHECK(app.echoes(secret));
    CHECK(far.last_guest().from.ip == pod.ip(family));
    CHECK(world.client.dial(pod.at(family, 8080)).echoes(secret));
    CHECK(own.last_guest().from.ip == world.client.ip(family));
    CHECK(let_out(cable.packets(), {world.far.ip(family), world.client.ip(family)}, secret) == "");
    world.mark();
    CHECK(pod.dial(world.plain2.at(family, 8080)).echoes("plain out"));
    CHECK(world.plain2.dial(pod.at(family, 8080)).echoes("plain in"));
    CHECK(own.last_guest().from.ip == world.plain2.ip(family));
    Node& node = world.node_of(pod);
    node.access_log().wait_for({{"direction", "outbound"}, {"dst.addr", world.plain2.at(family, 8080).to_string()}});
    node.access_log().wait_for({{"direction", "inbound"}, {"dst.addr", pod.at(family, 8080).to_string()}});
}

bool is_answered(const Pod& pod, const SocketAddress& target) {
    try {
        return pod.dial(target).echoes(secret);
    } catch (const std::exception&) {
        return false;
    }
}

// Fails within moments, and without a packet. connect() itself may succeed: somebody is there for every target.
void check_impossible(World& world, Pod& pod, Family family) {
    CAPTURE(to_string(family));
    Server far{world.far.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(pod.node()), pod.host_link()};
    const Stopwatch watch;
    CHECK_FALSE(is_answered(pod, world.far.at(family, 8080)));
    // Istio's rules let an app without an address hang.
    if (capture_mode() == "ebpf") CHECK(watch.elapsed() < 2s);
    CHECK(let_out(cable.packets(), {world.far.ip(family)}, secret) == "");
}

// The daemon hears of changes a moment later.
void wait_until_answered(World& world, Pod& pod, Family family) {
    Server far{world.far.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(pod.node()), pod.host_link()};
    CHECK(eventually(15s, [&] { return is_answered(pod, world.far.at(family, 8080)); }));
    CHECK(let_out(cable.packets(), {world.far.ip(family)}, secret) == "");
    Server own{pod.netns(), 8080, apps::echo};
    CHECK(eventually(15s, [&] { return is_answered(world.plain2, pod.at(family, 8080)); }));
}

}

TEST_SUITE("families") {

TEST_CASE("families: in a pod without IPv6, IPv4 is captured; IPv6 is once it is switched on" BOTH_FAMILIES) {
    OddWorld lab{[](Pod& pod) { set(pod, "net.ipv6.conf.all.disable_ipv6", "1"); }};
    check_captured(lab.world, lab.odd, Family::v4);
    check_impossible(lab.world, lab.odd, Family::v6);
    set(lab.odd, "net.ipv6.conf.all.disable_ipv6", "0");
    give_ipv6_back(lab.odd);
    wait_until_answered(lab.world, lab.odd, Family::v6);
    for (Family family : families()) check_captured(lab.world, lab.odd, family);
}

TEST_CASE(
    "families: in a pod whose lo is without IPv6, IPv4 is captured, and nothing of IPv6 is let out" BOTH_FAMILIES) {
    OddWorld lab{[](Pod& pod) { set(pod, "net.ipv6.conf.lo.disable_ipv6", "1"); }};
    check_captured(lab.world, lab.odd, Family::v4);
    if (capture_mode() == "ebpf") check_impossible(lab.world, lab.odd, Family::v6);
    set(lab.odd, "net.ipv6.conf.lo.disable_ipv6", "0");
    wait_until_answered(lab.world, lab.odd, Family::v6);
    for (Family family : families()) check_captured(lab.world, lab.odd, family);
}

TEST_CASE("families: IPv6 that is switched off while the pod is in the mesh fails at once, and IPv4 goes on" IPV6) {
    OddWorld lab{[](Pod&) {}};
    check_captured(lab.world, lab.odd, Family::v6);
    set(lab.odd, "net.ipv6.conf.all.disable_ipv6", "1");
    check_impossible(lab.world, lab.odd, Family::v6);
    check_captured(lab.world, lab.odd, Family::v4);
    set(lab.odd, "net.ipv6.conf.all.disable_ipv6", "0");
    give_ipv6_back(lab.odd);
    wait_until_answered(lab.world, lab.odd, Family::v6);
    check_captured(lab.world, lab.odd, Family::v6);
}

TEST_CASE("families: IPv6 that is off on lo for a moment, which the daemon does not see, is captured after it" IPV6) {
    OddWorld lab{[](Pod&) {}};
    check_captured(lab.world, lab.odd, Family::v6);
    lab.world.one.signal(SIGSTOP);
    for (const char* off : {"1", "0"}) set(lab.odd, "net.ipv6.conf.lo.disable_ipv6", off);
    lab.world.one.signal(SIGCONT);
    wait_until_answered(lab.world, lab.odd, Family::v6);
    check_captured(lab.world, lab.odd, Family::v6);
}

TEST_CASE("families: a pod with addresses of one family only is captured in that one" BOTH_FAMILIES) {
    for (Family family : families()) {
        const char* other = family == Family::v4 ? "-6" : "-4";
        OddWorld lab{[&](Pod& pod) { ip(pod, {other, "address", "flush", "dev", "eth0", "scope", "global"}); }};
        check_captured(lab.world, lab.odd, family);
        check_impossible(lab.world, lab.odd, family == Family::v4 ? Family::v6 : Family::v4);
    }
}

TEST_CASE("families: an app in a user namespace of its own is captured" BOTH_FAMILIES) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        const SocketAddress target = world.far.at(family, 8080);
        sockaddr_storage raw{};
        const socklen_t length = target.to(raw);
        Child app{[&] {
            if (::setns(world.client.netns(), CLONE_NEWNET) != 0 || ::unshare(CLONE_NEWUSER) != 0) return 2;
            const int fd = ::socket(raw.ss_family, SOCK_STREAM, 0);
            if (::connect(fd, reinterpret_cast<const sockaddr*>(&raw), length) != 0) return 3;
            if (::send(fd, secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size())) return 4;
            char back[32];
            return ::recv(fd, back, secret.size(), MSG_WAITALL) == static_cast<ssize_t>(secret.size()) ? 0 : 5;
        }};
        CHECK(app.wait() == 0);
        CHECK(let_out(cable.packets(), {target.ip}, secret) == "");
    }
}

}
