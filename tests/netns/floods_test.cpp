// SPDX-License-Identifier: Apache-2.0
// More at once than anybody means well by: real calls get through all the same, and afterwards nothing is the worse.
#include <doctest/doctest.h>

#include <signal.h>

#include <filesystem>
#include <iterator>

#include "load.hpp"
#include "outcome.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

std::size_t descriptors(const Node& node) {
    std::filesystem::directory_iterator fds{"/proc/" + std::to_string(node.pid()) + "/fd"};
    return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

// Those that stay for the next call, both ends: a flood opens a dozen. One that is lost per call would be thousands.
constexpr std::size_t warm_tunnels = 64;

// Addresses for benchmarks, which nobody has: 198.18.0.0/15 and 2001:2::/48.
SocketAddress nobody(Family family, int number) {
    IpAddress ip = *IpAddress::parse(family == Family::v4 ? "198.18.0.0" : "2001:2::");
    ip.bytes[14] = static_cast<std::uint8_t>(number >> 8);
    ip.bytes[15] = static_cast<std::uint8_t>(number);
    return {ip, static_cast<std::uint16_t>(1024 + number % 50'000)};
}

}

TEST_SUITE("floods") {

TEST_CASE("flood: while SYNs without number come for tunnel and app, every real call is answered" BOTH_FAMILIES) {
    World& world = World::shared();
    constexpr int each = 10'000;
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server near{world.near.netns(), 8080, apps::echo};
        Server far{world.far.netns(), 8080, apps::echo};
        ReasonCount tunnels{world.one, "TO_TUNNEL"};
        ReasonCount plain{world.one, "TO_INBOUND"};
        const std::size_t memory = world.one.resident_bytes();
        Load sealed{world.far, world.near.at(family, 8080), "to near, sealed", 1};
        Load clear{world.plain1, world.near.at(family, 8080), "to near, in the clear", 1};
        Load out{world.near, world.far.at(family, 8080), "from near", 1};
        const Stopwatch watch;
        for (int i = 0; i < each; ++i)
            for (const std::uint16_t port : {15008, 8080}) {
                const SocketAddress from = nobody(family, i);
                const SocketAddress to = world.near.at(family, port);
                send_raw(world.lab.node_netns(1), family == Family::v4 ? ipv4_syn(from, to) : ipv6_syn(from, to));
            }
        MESSAGE("20000 SYNs in " << watch.elapsed().count() << " ms");
        if (capture_mode() == "ebpf") CHECK(tunnels.rise() + plain.rise() > each);
        for (Load* load : {&sealed, &clear, &out}) {
            CHECK(load->goes_on());
            load->stop();
            CHECK_MESSAGE(load->failed() == 0, load->first_failure());
            CHECK(load->answered() > 0);
        }
        CHECK(world.one.resident_bytes() < memory + 32 * 1024 * 1024);
    }
}

TEST_CASE(
    "flood: a daemon that sleeps for a second finds hundreds of calls waiting, and serves them all" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server near{world.near.netns(), 8080, apps::echo};
        Server far{world.far.netns(), 8080, apps::echo};
        CHECK(world.client.dial(world.far.at(family, 8080)).echoes("warm"));
        world.one.signal(SIGSTOP);
        const Stopwatch asleep;
        std::vector<Connection> waiting;
        for (int i = 0; i < 150; ++i) {
            waiting.push_back(world.client.dial(world.far.at(family, 8080)));
            waiting.push_back(world.plain1.dial(world.near.at(family, 8080)));
        }
        for (Connection& app : waiting) app.send("good morning");
        CHECK(eventually(15s, [&] { return asleep.elapsed() > 1s; }));
        world.one.signal(SIGCONT);
        for (Connection& app : waiting) CHECK(app.receive(12) == "good morning");
    }
}

TEST_CASE("flood: thousands of calls that are cut at once leave no descriptor, no flow and no memory behind" IPV4) {
    World& world = World::shared();
    Server near{world.near.netns(), 8080, apps::echo};
    const auto flows = [&] {
        return capture_mode() == "ebpf" ? total(world.one.metrics(), "culvert_map_entries{map=\"cv_flows\"}") : 0;
    };
    CHECK(world.client.dial(world.near.at(Family::v4, 8080)).echoes("warm"));
    CHECK(world.plain1.dial(world.near.at(Family::v4, 8080)).echoes("warm"));
    const std::size_t before = descriptors(world.one);
    const double flows_before = flows();
    const std::size_t memory = world.one.resident_bytes();
    for (int i = 0; i < 3000; ++i)
        for (const Pod* caller : {&world.client, &world.plain1}) {
            Connection app = caller->dial(world.near.at(Family::v4, 8080));
            if (i % 3 != 0) app.send("and gone");
            if (i % 2 == 0) app.reset();
        }
    const bool closed = eventually(10s, [&] { return descriptors(world.one) <= before + warm_tunnels; });
    CHECK_MESSAGE(closed, descriptors(world.one) << " descriptors, before: " << before);
    CHECK(eventually(15s, [&] { return flows() <= flows_before; }));
    CHECK(world.one.resident_bytes() < memory + 32 * 1024 * 1024);
    CHECK(world.client.dial(world.near.at(Family::v4, 8080)).echoes("none the worse"));
}

}
