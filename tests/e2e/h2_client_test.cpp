// SPDX-License-Identifier: Apache-2.0
// Python's h2 as a client with one odd habit at a time: in front of our inbound.
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "peers.hpp"
#include "server.hpp"

using namespace culvert::test;

TEST_SUITE("h2 client") {

TEST_CASE("h2 client: whatever its habits, every byte comes back from our app" BOTH_FAMILIES) {
    World& world = World::shared();
    const Papers papers = issue(world.lab, "elsewhere");
    Server server{world.far.netns(), 8080, apps::echo};
    for (const std::string habit : {"client", "hundred", "tiny-windows", "huge", "odd-frames", "padding", "priority",
                                    "continuation", "unknown-frames", "trailers", "first-bytes", "changing-settings",
                                    "shrinking-window", "slow-reader", "goaway", "pings", "resets"}) {
        for (Family family : families()) {
            CAPTURE(habit);
            CAPTURE(to_string(family));
            PythonPeer peer{world.lab,
                            world.plain1,
                            {"h2_client.py", habit, world.far.ip(family).to_string(),
                             world.far.at(family, 8080).to_string(), papers.chain, papers.key, papers.root}};
            CHECK(peer.wait(30s) == 0);
            const std::string log = peer.log();
            CAPTURE(log);
            CHECK(log.find("right") != std::string::npos);
            CHECK(log.find("WRONG") == std::string::npos);
            CHECK(log.find("GOAWAY") == std::string::npos);
            CHECK(log.find("61639: 1") != std::string::npos);  // 0xf0c7: our servers announce their extension
        }
    }
}

}
