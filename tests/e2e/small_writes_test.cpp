// SPDX-License-Identifier: Apache-2.0
// An app that writes a byte at a time, and a peer that counts DATA frames as Rust's h2 does, which ends the tunnel of
// whoever sends too many small ones that nobody has read (ENHANCE_YOUR_CALM, too_many_data_frames).
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "peers.hpp"
#include "server.hpp"

using namespace culvert::test;

namespace {

constexpr int million = 1'000'000;

void write_bytes_one_by_one(Connection& connection) {
    for (int i = 0; i < million; ++i) connection.send("x");
    connection.end_sending();
}

void judge(const std::string& account) {
    CAPTURE(account);
    CHECK(figure(account, "ended") == 1);
    CHECK(figure(account, "bytes") == million);
    CHECK(figure(account, "empty") == 0);
    CHECK(figure(account, "frames") < million / 50);
    // Of the fixed budget of the first of those versions, and even if no app ever took a byte.
    CHECK(figure(account, "old_held_lowest") > 0);
}

}

TEST_SUITE("small writes") {

TEST_CASE("small writes: a million of one byte, out and in, never make a peer of Rust's h2 end the tunnel" IPV4) {
    World& world = World::shared();
    const Papers papers = issue(world.lab, "default");
    // It drains at once, or reads nothing for a second.
    for (const std::string pause : {"0", "1"}) {
        CAPTURE(pause);
        PythonPeer peer{
            world.lab, world.down, {"frame_counter.py", "server", papers.chain, papers.key, papers.root, pause}};
        REQUIRE(peer.says("ready"));
        Connection app = world.client.dial(world.vip("down", Family::v4));
        write_bytes_one_by_one(app);
        CHECK(peer.wait(60s) == 0);
        judge(peer.log());
    }
    Server server{world.far.netns(), 8080, write_bytes_one_by_one};
    PythonPeer peer{world.lab,
                    world.plain1,
                    {"frame_counter.py", "client", world.far.ip(Family::v4).to_string(),
                     world.far.at(Family::v4, 8080).to_string(), papers.chain, papers.key, papers.root, "1"}};
    CHECK(peer.wait(60s) == 0);
    judge(peer.log());
}

}
