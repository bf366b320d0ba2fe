// SPDX-License-Identifier: Apache-2.0
// The other way round to collisions_test: the proxy's leg was there first, and then the client dials from its port.
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

TEST_SUITE("claimed") {

TEST_CASE(
    "claimed: a client that dials from the very port that a leg in its name has is answered all the "
    "same" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        Connection first = world.plain1.dial(target);
        CHECK(first.echoes("through a leg"));
        const SocketAddress leg = echo.guest(0).from;
        REQUIRE(leg.ip == world.plain1.ip(family));
        Stopwatch watch;
        Connection second = world.plain1.dial(Dial{.to = target, .from = leg});
        CHECK(second.echoes("from the leg's port"));
        CHECK(watch.elapsed() < 2500ms);
        CHECK(first.echoes("still here"));
    }
}

}
