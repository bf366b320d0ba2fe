// SPDX-License-Identifier: Apache-2.0
// What flows: every byte, in order, both ways at once, to the end of each way.
#include <doctest/doctest.h>

#include <future>

#include "exchange.hpp"
#include "outcome.hpp"
#include "pattern.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

const Pattern up{1};
const Pattern down{2};

}

TEST_SUITE("bytes") {

TEST_CASE("bytes: 64 MiB each way at once arrive as they were sent" BOTH_FAMILIES) {
    World& world = World::shared();
    constexpr std::uint64_t size = 64 * mebibyte;
    for (Family family : families()) {
        for (const Path& path : paths(world)) {
            if (family == Family::v6 && &path.server == &world.near) continue;  // cost without news
            CAPTURE(path.name);
            CAPTURE(to_string(family));
            // Both ends have all bytes, and each is right.
            CHECK(exchange(path.client, path.server.at(family, 8080), path.server, size) == "");
        }
    }
}

TEST_CASE("bytes: a server that speaks first is heard before the client has said a word" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const Path& path : paths(world)) {
            CAPTURE(path.name);
            CAPTURE(to_string(family));
            Server server{path.server.netns(), 8080, apps::greet("220 ready\r\n")};
            Connection app = path.client.dial(path.server.at(family, 8080));
            CHECK(app.receive(11) == "220 ready\r\n");
            CHECK(app.echoes("HELO"));
        }
    }
}

TEST_CASE("bytes: the client ends first, and what the server still has to say arrives" BOTH_FAMILIES) {
    World& world = World::shared();
    constexpr std::uint64_t size = 8 * mebibyte;
    for (Family family : families()) {
        for (const Path& path : paths(world)) {
            CAPTURE(path.name);
            CAPTURE(to_string(family));
            Server server{path.server.netns(), 8080, [&](Connection& connection) {
                              pour(connection, down, size / 2);
                              if (connection.receive_all() == "that is all") pour(connection, down, size / 2);
                          }};
            Connection app = path.client.dial(path.server.at(family, 8080));
            app.send("that is all");
            app.end_sending();
            CHECK_FALSE(drain(app, down, size / 2).first_wrong);
            CHECK(drain(app, down).bytes == size / 2);
        }
    }
}

TEST_CASE("bytes: the server ends first, and what the client still has to say arrives" BOTH_FAMILIES) {
    World& world = World::shared();
    constexpr std::uint64_t size = 8 * mebibyte;
    for (Family family : families()) {
        for (const Path& path : paths(world)) {
            CAPTURE(path.name);
            CAPTURE(to_string(family));
            std::promise<Received> at_server;
            Server server{path.server.netns(), 8080, [&](Connection& connection) {
                              connection.send("go on");
                              connection.end_sending();
                              at_server.set_value(drain(connection, up));
                          }};
            Connection app = path.client.dial(path.server.at(family, 8080));
            CHECK(app.receive_all() == "go on");
            pour(app, up, size);
            app.end_sending();
            const Received there = at_server.get_future().get();
            CHECK(there.bytes == size);
            CHECK_FALSE(there.first_wrong);
        }
    }
}

TEST_CASE("bytes: an app that resets ends the far side too" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const Path& path : paths(world)) {
            for (bool client_resets : {true, false}) {
                CAPTURE(path.name);
                CAPTURE(to_string(family));
                CAPTURE(client_resets);
                std::promise<std::string> at_server;
                Server server{path.server.netns(), 8080, [&](Connection& connection) {
                                  connection.send(connection.receive(5));
                                  if (client_resets) {
                                      at_server.set_value(connection.ending(5s));
                                  } else {
                                      connection.reset();
                                  }
                              }};
                Connection app = path.client.dial(path.server.at(family, 8080));
                CHECK(app.echoes("hello"));
                if (client_resets) app.reset();
                const std::string end = client_resets ? at_server.get_future().get() : app.ending(5s);
                CHECK_MESSAGE((end == "end" || end == "reset"), end);
            }
        }
    }
}

}
