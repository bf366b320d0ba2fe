// SPDX-License-Identifier: Apache-2.0
// A daemon that dies without a word, and the next one: closed at once, never open, then as before.
#include <doctest/doctest.h>

#include <algorithm>

#include "kernel_traces.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "never-in-the-clear";

// The middle one of several, so that a machine busy with something else does not fail the case.
Milliseconds typical_refusal(const Pod& from, const SocketAddress& to) {
    std::vector<Milliseconds> took;
    for (int i = 0; i < 9; ++i) {
        const Attempt attempt = from.attempt(to);
        CHECK(attempt.error != 0);
        took.push_back(attempt.took);
    }
    std::ranges::sort(took);
    return took[took.size() / 2];
}

}

TEST_SUITE("restart") {

TEST_CASE(
    "restart: killed under load, pods are refused at once and nothing passes; the next daemon takes "
    "over" BOTH_FAMILIES) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Tap wire{world.lab.node_netns(1), "wire"};
    Load here{world.client, world.vip("far", Family::v4), std::string{secret}};
    Load there{world.far, world.plain2.at(Family::v6, 8080), "the other node's"};
    CHECK(here.goes_on());
    CHECK(there.goes_on());
    Connection open = world.client.dial(world.near.at(Family::v4, 8080));
    CHECK(open.echoes("open"));
    Connection tunnelled = world.client.dial(world.far.at(Family::v4, 8080));
    Connection called = world.far.dial(world.near.at(Family::v4, 8080));
    Connection plainly = world.client.dial(world.plain2.at(Family::v4, 8080));
    for (Connection* app : {&tunnelled, &called, &plainly}) CHECK(app->echoes("open"));
    const auto pins = pinned_links(world.one);
    if (capture_mode() == "ebpf") CHECK_FALSE(pins.empty());

    world.one.kill9();
    // Never a clean end: who was in the middle of an answer must not take it for whole.
    for (Connection* app : {&open, &tunnelled, &called, &plainly}) CHECK(app->ending(2s) == "reset");
    const std::size_t reached_near = near.guests().size();
    {
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        for (Family family : families()) {
            CAPTURE(to_string(family));
            for (const SocketAddress& target : {world.vip("far", family), world.far.at(family, 8080),
                                                world.plain2.at(family, 8080), world.near.at(family, 8080)}) {
                CAPTURE(target.to_string());
                CHECK(typical_refusal(world.client, target) < 100ms);
            }
            for (const Pod* caller : {&world.plain1, &world.plain2}) {
                CAPTURE(caller->name());
                CHECK(typical_refusal(*caller, world.near.at(family, 8080)) < 100ms);
            }
        }
        const auto passed = cable.packets();
        CHECK_MESSAGE(passed.empty(), Tap::list(passed));
    }
    CHECK(near.guests().size() == reached_near);
    const int before = here.answered();
    CHECK(there.goes_on());
    CHECK(there.failed() == 0);
    CHECK(here.answered() == before);

    world.one.start();
    CHECK(pinned_links(world.one) == pins);
    CHECK(here.goes_on());
    for (Family family : families()) {
        CHECK(world.client.dial(world.vip("near", family)).echoes("again"));
        CHECK(world.plain1.dial(world.near.at(family, 8080)).echoes("again"));
    }
    here.stop();
    there.stop();
    CHECK_MESSAGE(there.failed() == 0, there.first_failure());
    CHECK(holding(wire.packets(), secret).empty());
}

TEST_CASE("restart: a next daemon that cannot start opens nothing that the earlier one left closed" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("tunnelled"));
    const auto pins = pinned_links(world.one);
    world.one.kill9();
    {
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        Server taker{world.lab.node_netns(1), 15021, apps::echo};
        const Output start = run({culvertd(), "--config", world.one.config_path()}, world.one.netns());
        CHECK_MESSAGE(start.status == 1, start.text);
        CHECK(pinned_links(world.one) == pins);
        CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error != 0);
        CHECK(cable.packets().empty());
    }
    world.one.start();
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("again"));
}

TEST_CASE("restart: a pod that is gone from the file meanwhile is let go by the next daemon" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.near.dial(world.far.at(Family::v4, 8080)).echoes("tunnelled"));
    world.one.kill9();
    world.mesh.workload(world.near).enrolled = false;
    world.reconfigure();
    world.one.start();
    CHECK(left_in(world.near) == "");
    Tap cable{world.lab.node_netns(1), world.near.host_link()};
    CHECK(world.near.dial(world.far.at(Family::v4, 8080)).echoes("as it is"));
    CHECK_FALSE(holding(cable.packets(), "as it is").empty());
}

}
