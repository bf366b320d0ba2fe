// SPDX-License-Identifier: Apache-2.0
// Who is not meant: pods beside one that joins and leaves, the pod itself before and after, and another daemon's pods.
#include <doctest/doctest.h>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <sstream>

#include "kernel_traces.hpp"
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

// All that a capture could have changed in a network namespace. Neighbours and counters come and go by themselves; so
// do the namespaces of other labs, of which `ip link` complains when it meets one that is being removed.
std::string network_of(int netns) {
    return must(
        {"sh", "-c",
         "ip -o link 2>/dev/null | sed 's/ state .*//'; ip -o address | sed 's/ *valid_lft.*//'; ip rule; ip -6 rule; "
         "ip route show table all; ip -6 route show table all | grep -v '^multicast'; "
         "tc qdisc show; bpftool net show; "
         "iptables-save | grep '^-'; ip6tables-save | grep '^-'; "
         "sysctl -a 2>/dev/null | grep -E '^net\\.(ipv4\\.(tcp_|fwmark|conf|ip_)|ipv6\\.(fwmark|conf))' | "
         "grep -vE 'tcp_(early_)?fastopen_key|stable_secret|tcp_.*mem|max_tw|max_syn'"},
        netns);
}

std::set<std::string> lines_of(const std::string& text) {
    std::istringstream split{text};
    std::set<std::string> lines;
    for (std::string line; std::getline(split, line);) lines.insert(line);
    return lines;
}

// The lines that differ.
std::string changed(const std::string& before, const std::string& now) {
    std::vector<std::string> differ;
    std::ranges::set_symmetric_difference(lines_of(before), lines_of(now), std::back_inserter(differ));
    std::string text;
    for (const std::string& line : differ) text += line + "\n";
    return text;
}

}

TEST_SUITE("neighbours") {

TEST_CASE("neighbours: a pod that joins and leaves changes nothing in the network of those that do not" BOTH_FAMILIES) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "1s"; }};
    Pod& late = world.plain1;
    world.describe(late);
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    const std::string own = network_of(late.netns());
    const std::string neighbour = network_of(world.tcp1.netns());
    const std::string enrolled = network_of(world.near.netns());
    const std::string node = network_of(world.lab.node_netns(1));
    const auto check_others = [&] {
        CHECK(changed(neighbour, network_of(world.tcp1.netns())) == "");
        CHECK(changed(enrolled, network_of(world.near.netns())) == "");
        CHECK(changed(node, network_of(world.lab.node_netns(1))) == "");
        for (Family family : families()) {
            CHECK(world.tcp1.dial(world.plain2.at(family, 8080)).echoes("as it is"));
            CHECK(plain.last_guest().from.ip == world.tcp1.ip(family));
            CHECK(world.near.dial(world.far.at(family, 8080)).echoes("sealed"));
        }
    };
    for (int times = 0; times < 2; ++times) {
        world.join(late);
        CHECK(network_of(late.netns()) != own);
        check_others();
        world.leave(late);
        CHECK(changed(own, network_of(late.netns())) == "");
        check_others();
    }
}

TEST_CASE("neighbours: two daemons on one kernel see nothing of each other's pods" BOTH_FAMILIES EBPF_ONLY(
    "its rules are in the pod alone, and count nothing")) {
    World& world = World::shared();
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Server own{world.far.netns(), 8080, apps::echo};
    std::vector<ReasonCount> ones;
    for (const char* reason :
         {"CONNECT_CAPTURED", "CONNECT_OWN", "CONNECT_LEG", "TO_OUTBOUND", "TO_INBOUND", "FLOW_OPENED"})
        ones.emplace_back(world.one, reason);
    ReasonCount twos{world.two, "CONNECT_CAPTURED"};
    for (Family family : families()) {
        CHECK(world.far.dial(world.plain2.at(family, 8080)).echoes("captured by the other"));
        CHECK(world.plain2.dial(world.far.at(family, 8080)).echoes("captured by the other"));
    }
    CHECK(twos.rises(2));
    for (const ReasonCount& each : ones) CHECK(each.rise() == 0);
    CHECK(dump_map(world.one, "cv_pods").find("ns/far") == std::string::npos);
    CHECK(dump_map(world.two, "cv_pods").find("ns/far") != std::string::npos);
    CHECK(dump_map(world.two, "cv_pods").find("ns/client") == std::string::npos);
}

TEST_CASE("neighbours: a pod in two daemons' files stays with the first; the second says whose it is" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    std::string both = world.mesh.yaml(2);
    const std::string one = world.mesh.yaml(1);
    const auto line = one.find("- {uid: \"" + Mesh::uid(world.client));
    both.insert(both.find("pods:\n") + 6, one.substr(line, one.find('\n', line) + 1 - line));
    world.two.configure(both);
    const std::string first = std::filesystem::path{world.one.config_path()}.stem();
    // With rules, the second meets the first one's ports before it gets that far.
    const std::string why = capture_mode() == "ebpf" ? "is captured by instance \"" + first + "\"" : "which is taken";
    CHECK(world.two.says({"client", why}, 10s));
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK(let_out(cable.packets(), {world.far.ip(Family::v4)}, secret) == "");
    // Once the first has let go, the second has it.
    world.mesh.workload(world.client).enrolled = false;
    world.one.configure(world.mesh.yaml(1));
    CHECK(world.one.says({"client", "has left the mesh"}, 15s));
    CHECK(world.two.says({"client", "is in the mesh"}, 10s));
    world.two.configure(world.mesh.yaml(2));
    CHECK(world.two.says({"client", "has left the mesh"}, 15s));
    CHECK(left_in(world.client) == "");
}

TEST_CASE(
    "neighbours: a burst of connects when the daemon is killed: each fails soon, and nothing passes" BOTH_FAMILIES) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        std::vector<Fd> burst;
        for (int i = 0; i < 400; ++i) {
            if (i == 200) world.one.kill9();
            const SocketAddress target = (i % 2 == 0 ? world.far : world.plain2).at(family, 8080);
            sockaddr_storage raw{};
            const socklen_t length = target.to(raw);
            burst.push_back(visit(world.client.netns(), [&] {
                return Fd{::socket(raw.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
            }));
            ::connect(burst.back().get(), reinterpret_cast<sockaddr*>(&raw), length);
            (void)::send(burst.back().get(), secret.data(), secret.size(), MSG_NOSIGNAL);
        }
        const Stopwatch watch;
        for (const Fd& each : burst) {
            pollfd ended{each.get(), POLLRDHUP, 0};
            CHECK(::poll(&ended, 1, 3000) == 1);
        }
        CHECK(watch.elapsed() < 3s);
        const auto packets = outside_tunnels(cable.packets());
        const auto from_leg = [&](const Packet& p) {
            return p.to.ip == world.plain2.ip(family) || p.from.ip == world.plain2.ip(family);
        };
        // To plain2 the proxy itself speaks in the clear, while it lives; to far nobody does.
        CHECK(std::ranges::all_of(packets, from_leg));
        world.one.start();
        CHECK(world.client.dial(world.far.at(family, 8080)).echoes("again"));
    }
}

}
