// SPDX-License-Identifier: Apache-2.0
// A pod goes on in a new network namespace, as when its sandbox has died.
#include <doctest/doctest.h>

#include "load.hpp"
#include "mortal.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

}

TEST_SUITE("sandbox") {

TEST_CASE("sandbox: a pod whose sandbox is made anew is followed under load, and the old netns is let go of" IPV4) {
    World world;
    const std::size_t before = entries(world.one);
    Mortal mortal{world};
    const std::size_t with_it = entries(world.one);
    for (int sandbox = 0; sandbox < 2; ++sandbox) {
        CAPTURE(sandbox);
        Server far{world.far.netns(), 8080, apps::echo};
        Server near{world.near.netns(), 8080, apps::echo};
        {
            Load own{mortal.pod, world.far.at(Family::v4, 8080), std::string{secret}, 1};
            CHECK(own.goes_on());
        }
        Load out{world.client, world.vip("far", Family::v4), "out of the node", 1};
        Load in{world.far, world.near.at(Family::v4, 8080), "into the node", 1};
        CHECK(mortal.is_quiet());
        world.lab.remake_pod(mortal.pod);
        REQUIRE(world.one.says({"mortal", "is in the mesh"}, 10s));
        for (Load* load : {&out, &in}) {
            CHECK(load->goes_on());
            load->stop();
            CHECK_MESSAGE(load->failed() == 0, load->first_failure());
        }
        CHECK(mortal.is_gone());
        mortal.watch();
        CHECK(left_in(mortal.pod) != "");
        CHECK(eventually(15s, [&] { return entries(world.one) == with_it; }));
        Tap cable{world.lab.node_netns(1), mortal.pod.host_link()};
        CHECK(mortal.pod.dial(world.far.at(Family::v4, 8080)).echoes(secret));
        CHECK(let_out(cable.packets(), {world.far.ip(Family::v4)}, secret) == "");
    }
    CHECK(mortal.is_quiet());
    world.lab.end_pod(mortal.pod);
    CHECK(mortal.is_gone());
    CHECK(eventually(15s, [&] { return entries(world.one) == before; }));
}

}
