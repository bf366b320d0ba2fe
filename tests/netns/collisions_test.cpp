// SPDX-License-Identifier: Apache-2.0
// The proxy dials an app in the client's name, from a port of its own choice; a client's live connection may have that
// very port. Then nothing answers the dial, and another port must be found before the client notices.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr int live = 600;
constexpr int first_port = 10'240;  // the ports that the proxy dials from: userspace/proxy/dial.cpp
constexpr int end_of_ports = 32'768;

// Live connections from such ports. A port that a leg has just now gives no connection; then the next one is taken.
std::vector<Connection> hold(const Pod& client, const SocketAddress& to, int step) {
    std::vector<Connection> held;
    for (int port = first_port; port < end_of_ports && held.size() < live; port += step) {
        const SocketAddress from{client.ip(to.ip.is_v4() ? Family::v4 : Family::v6), static_cast<std::uint16_t>(port)};
        try {
            Connection app = client.dial(Dial{.to = to, .from = from, .limit = 60ms});
            app.limit(10s);
            if (app.echoes("held")) held.push_back(std::move(app));
        } catch (const std::system_error&) {
            port += 1 - step;
        }
    }
    return held;
}

struct Tally {
    Milliseconds slowest{};
    int failed = 0;
    std::string first_failure;
    std::vector<Connection> open;
};

// Six at a time; all stay open until all are done. The time is until the app behind the proxy has answered.
Tally call_all(const Pod& from, const std::vector<Dial>& dials) {
    Tally tally;
    std::mutex mutex;
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> callers;
    const auto call = [&](const Dial& dial) {
        Stopwatch watch;
        std::string failure;
        Connection app;
        try {
            app = from.dial(dial);
            if (!app.echoes("hello")) failure = "another's bytes came back";
        } catch (const std::exception& thrown) {
            failure = thrown.what();
        }
        std::lock_guard lock{mutex};
        tally.slowest = std::max(tally.slowest, watch.elapsed());
        if (!failure.empty() && tally.failed++ == 0) tally.first_failure = failure;
        tally.open.push_back(std::move(app));
    };
    for (int i = 0; i < 6; ++i)
        callers.emplace_back([&] {
            for (std::size_t mine = next++; mine < dials.size(); mine = next++) call(dials[mine]);
        });
    for (std::thread& caller : callers) caller.join();
    return tally;
}

}

TEST_SUITE("collisions") {

TEST_CASE(
    "collision: with 600 live connections of a client from ports that legs use, its next dials neither hang nor "
    "fail" BOTH_FAMILIES EBPF_ONLY("the proxy's dials are the same behind both, so once is enough")) {
    World& world = World::shared();
    struct Row {
        std::string name;
        int step;  // from one live port to the next, at least
        int dials;
    };
    for (Family family : families()) {
        // Side by side, neighbours of a port that is taken are taken too. Spread over all ports, a leg cannot but meet
        // some.
        for (const Row& row : {Row{"side by side", 3, 60}, Row{"spread over all", 30, 300}}) {
            CAPTURE(to_string(family));
            CAPTURE(row.name);
            Server echo{world.near.netns(), 8080, apps::echo};
            const SocketAddress target = world.near.at(family, 8080);
            const std::vector<Connection> held = hold(world.plain1, target, row.step);
            REQUIRE(held.size() == live);
            const Tally tally = call_all(world.plain1, std::vector<Dial>(row.dials, Dial{.to = target}));
            CHECK_MESSAGE(tally.failed == 0, tally.first_failure);
            CHECK(tally.slowest < 2500ms);
        }
    }
}

}
