// SPDX-License-Identifier: Apache-2.0
// What flows: every byte, in order, both ways at once, to the end of each way, and no faster than it is read.
#include <doctest/doctest.h>

#include <future>
#include <latch>

#include "outcome.hpp"
#include "pattern.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20;
const Pattern up{1};
const Pattern down{2};

// The four ways through a daemon.
struct Path {
    std::string name;
    Pod& client;
    Pod& server;
};

std::vector<Path> paths(World& world) {
    return {{"tunnel to the other node", world.client, world.far},
            {"tunnel on the node", world.client, world.near},
            {"plain out", world.client, world.plain2},
            {"plain in", world.plain2, world.far}};
}

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
            std::promise<Received> at_server;
            Server server{path.server.netns(), 8080, [&](Connection& connection) {
                connection.limit(30s);
                auto sending = std::async(std::launch::async, [&] { pour(connection, down, size); connection.end_sending(); });
                at_server.set_value(drain(connection, up));
                sending.get();
            }};
            Connection app = path.client.dial(path.server.at(family, 8080));
            app.limit(30s);
            auto sending = std::async(std::launch::async, [&] { pour(app, up, size); app.end_sending(); });
            const Received at_client = drain(app, down);
            sending.get();
            const Received there = at_server.get_future().get();
            CHECK(at_client.bytes == size);
            CHECK_FALSE(at_client.first_wrong);
            CHECK(there.bytes == size);
            CHECK_FALSE(there.first_wrong);
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

TEST_CASE("bytes: a slow reader holds the sender back, and the daemons stay small" IPV4) {
    World& world = World::shared();
    constexpr std::uint64_t offered = 256 * mebibyte;
    for (const Path& path : paths(world)) {
        for (bool upload : {true, false}) {
            CAPTURE(path.name);
            CAPTURE(upload);
            const Pattern& pattern = upload ? up : down;
            std::latch reading{1};
            std::promise<std::uint64_t> taken_at_server;
            std::promise<Received> at_server;
            Server server{path.server.netns(), 8080, [&](Connection& connection) {
                if (upload) {
                    reading.wait();
                    at_server.set_value(drain(connection, pattern));
                } else {
                    taken_at_server.set_value(stuff(connection, pattern, offered));
                }
            }};
            const std::size_t before = world.one.resident_bytes() + world.two.resident_bytes();
            Connection app = path.client.dial(path.server.at(Family::v4, 8080));
            const std::uint64_t taken =
                upload ? stuff(app, pattern, offered) : taken_at_server.get_future().get();
            const std::size_t after = world.one.resident_bytes() + world.two.resident_bytes();
            CHECK(taken > mebibyte / 4);
            CHECK(taken < 64 * mebibyte);  // what sockets and windows hold on the way
            CHECK(after < before + 32 * mebibyte);

            reading.count_down();
            if (upload) app.end_sending();
            const Received all = upload ? at_server.get_future().get() : drain(app, pattern);
            CHECK(all.bytes == taken);
            CHECK_FALSE(all.first_wrong);
        }
    }
}

TEST_CASE("bytes: while one reader stalls, others on the same tunnel go on" IPV4) {
    World& world = World::shared();
    Server stalled{world.far.netns(), 8080, apps::ignore};
    Server echo{world.far.netns(), 8081, apps::echo};
    Connection stuck = world.client.dial(world.far.at(Family::v4, 8080));
    stuff(stuck, up, 256 * mebibyte, 500ms);
    Connection app = world.client.dial(world.far.at(Family::v4, 8081));
    for (int i = 0; i < 100; ++i) CHECK(app.echoes("still here"));
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

TEST_CASE("bytes: with two workers, both carry their share" IPV4) {
    World& world = World::shared();
    const auto before = world.one.thread_cpu();
    Server server{world.far.netns(), 8080, [](Connection& connection) { drain(connection, up); }};
    std::vector<std::future<void>> calls;
    for (int i = 0; i < 24; ++i)
        calls.push_back(std::async(std::launch::async, [&] {
            Connection app = world.client.dial(world.far.at(Family::v4, 8080));
            pour(app, up, 16 * mebibyte);
            app.end_sending();
            app.receive_all();
        }));
    for (auto& call : calls) call.get();
    int busy = 0;
    for (const auto& [thread, spent] : world.one.thread_cpu())
        if (spent - (before.contains(thread) ? before.at(thread) : 0ms) >= 50ms) ++busy;
    CHECK(busy >= 2);
}

}
