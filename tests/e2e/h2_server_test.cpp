// SPDX-License-Identifier: Apache-2.0
// Python's h2 in the place of the other node, with one odd habit at a time: behind our outbound.
#include <doctest/doctest.h>

#include "exchange.hpp"
#include "outcome.hpp"
#include "peers.hpp"

using namespace culvert::test;

namespace {

PythonPeer server_that(World& world, const std::string& habit) {
    static const Papers papers = issue(world.lab, "default");
    PythonPeer peer{world.lab, world.down, {"h2_server.py", habit, papers.chain, papers.key, papers.root}};
    if (!peer.says("ready")) throw std::runtime_error("Python's h2 does not serve: " + peer.log());
    return peer;
}

// Sends so much, ends, and wants the same back.
std::string echo_through(const Pod& from, const SocketAddress& to, std::uint64_t size) {
    static const Pattern pattern{7};
    Connection app = from.dial(to);
    auto sending = std::async(std::launch::async, [&] {
        pour(app, pattern, size);
        app.end_sending();
    });
    const Received got = drain(app, pattern);
    sending.get();
    if (got.first_wrong) return "wrong bytes at " + std::to_string(*got.first_wrong);
    return got.bytes == size ? "" : std::to_string(got.bytes) + " bytes came back";
}

// What it saw, after it was content with all of it.
std::string contentment(PythonPeer& peer) {
    std::string log = peer.finish();
    CAPTURE(log);
    CHECK(log.find("WRONG") == std::string::npos);
    CHECK(log.find("Traceback") == std::string::npos);
    return log;
}

}

TEST_SUITE("h2 server") {

TEST_CASE("h2 server: whatever its habits, bytes go both ways, and it has nothing to complain of" BOTH_FAMILIES) {
    World& world = World::shared();
    struct Row {
        std::string habit;
        std::uint64_t size;
        int at_once = 4;
    };
    for (const Row& row :
         {Row{"echo", 400'000}, Row{"tiny-windows", 20'000}, Row{"shut-window", 200'000}, Row{"huge", 8 * mebibyte},
          Row{"odd-frames", 200'000}, Row{"padding", 200'000}, Row{"priority", 100'000}, Row{"continuation", 100'000},
          Row{"unknown-frames", 200'000}, Row{"informational", 100'000}, Row{"trailers", 100'000},
          Row{"pings", 200'000}, Row{"slow-reader", 60'000}, Row{"shrinking-window", 200'000},
          Row{"changing-settings", 2 * mebibyte}, Row{"one-stream", 100'000, 1}, Row{"goaway-at-once", 100'000},
          Row{"goaway-in-mid-stream", 200'000}, Row{"slow-answer", 100'000}}) {
        CAPTURE(row.habit);
        PythonPeer peer = server_that(world, row.habit);
        for (Family family : families()) {
            CAPTURE(to_string(family));
            CHECK(echo_through(world.client, world.vip("down", family), row.size) == "");
        }
        // Several at once.
        std::vector<std::future<std::string>> others;
        for (int i = 0; i < row.at_once; ++i)
            others.push_back(std::async(std::launch::async, echo_through, std::cref(world.client),
                                        world.vip("down", Family::v4), row.size / 10));
        for (auto& other : others) CHECK(other.get() == "");
        const std::string log = contentment(peer);
        CHECK(figure(log, "before_answer") == 0);
        if (row.habit == "huge") CHECK(figure(log, "largest_frame") > 16384);
        if (row.habit == "pings") CHECK(figure(log, "pongs") > 10);
        if (row.habit == "tiny-windows") CHECK(figure(log, "largest_frame") <= 17);
    }
}

TEST_CASE("h2 server: first bytes go before the answer to who asks for them, and to nobody else" IPV4) {
    World& world = World::shared();
    for (const std::string habit : {"first-bytes", "slow-answer"}) {
        CAPTURE(habit);
        PythonPeer peer = server_that(world, habit);
        // Those after the first of each worker know what the server has said. An app that speaks 100 us after its
        // connect is too late, so not every one of them brings its bytes along.
        for (int i = 0; i < 20; ++i) {
            Connection app = world.client.dial(world.vip("down", Family::v4));
            CHECK(app.echoes("first words"));
        }
        const std::string log = contentment(peer);
        CHECK((figure(log, "before_answer") > 0) == (habit == "first-bytes"));
    }
}

TEST_CASE("h2 server: a reset is an end or a reset for the app, by its code, and other streams go on" IPV4) {
    World& world = World::shared();
    PythonPeer peer = server_that(world, "reset");
    // Not reset by it: nothing is sent on it until the end.
    static const std::vector<std::string> names{"NO_ERROR",
                                                "PROTOCOL_ERROR",
                                                "INTERNAL_ERROR",
                                                "FLOW_CONTROL_ERROR",
                                                "SETTINGS_TIMEOUT",
                                                "STREAM_CLOSED",
                                                "FRAME_SIZE_ERROR",
                                                "REFUSED_STREAM",
                                                "CANCEL",
                                                "COMPRESSION_ERROR",
                                                "CONNECT_ERROR",
                                                "ENHANCE_YOUR_CALM",
                                                "INADEQUATE_SECURITY",
                                                "HTTP_1_1_REQUIRED",
                                                "code 14"};
    Connection beside = world.client.dial(world.down.at(Family::v4, 9000));
    for (std::size_t code = 0; code < names.size(); ++code) {
        CAPTURE(names[code]);
        world.mark();
        Connection app = world.client.dial(world.down.at(Family::v4, static_cast<std::uint16_t>(9000 + code)));
        app.send("hello");
        const bool mild = code == 0 || code == 8;
        std::string end;
        try {
            app.receive(5);
            end = app.ending();
        } catch (const std::system_error& failure) {
            end = failure.code().value() == ECONNRESET ? "reset" : failure.what();
        }
        CHECK(end == (mild ? "end" : "reset"));
        app.close();
        const AccessLine line = world.one.access_log().wait_for({{"direction", "outbound"}, {"bytes_sent", "5"}});
        const std::string error = line["error"];
        CAPTURE(error);
        if (mild)
            CHECK(error == "");
        else if (names[code] == "STREAM_CLOSED")
            CHECK(error.find("broken pipe") != std::string::npos);
        else
            CHECK(error.find(names[code]) != std::string::npos);
    }
    beside.send("x");
    CHECK(beside.receive(1) == "x");
    contentment(peer);
}

TEST_CASE("h2 server: a reset instead of an answer ends the app's connection, and the code is in the log" IPV4) {
    World& world = World::shared();
    PythonPeer peer = server_that(world, "reset-unanswered");
    for (int code : {0, 1, 2, 7, 8, 10, 11, 13}) {
        CAPTURE(code);
        world.mark();
        const SocketAddress to = world.down.at(Family::v4, static_cast<std::uint16_t>(9000 + code));
        CHECK(fate(world.client.netns(), {.to = to}) == "reset");
        CHECK(world.one.access_log().wait_for({{"direction", "outbound"}})["error"] != "");
    }
    contentment(peer);
}

TEST_CASE("h2 server: an answer other than 200 ends the app's connection, and the status is in the log" IPV4) {
    World& world = World::shared();
    PythonPeer peer = server_that(world, "status");
    for (int status : {201, 204, 301, 400, 401, 403, 407, 429, 500, 503, 599}) {
        CAPTURE(status);
        world.mark();
        const SocketAddress to = world.down.at(Family::v4, static_cast<std::uint16_t>(status));
        CHECK(fate(world.client.netns(), {.to = to}) == "reset");
        CHECK(world.one.access_log().wait_for({{"direction", "outbound"}})["error"].starts_with(
            "http status: " + std::to_string(status)));
    }
    CHECK(echo_through(world.client, world.down.at(Family::v4, 200), 1000) == "");
    contentment(peer);
}

TEST_CASE("h2 server: an answer that is the end, too, is the end for the app" BOTH_FAMILIES) {
    World& world = World::shared();
    PythonPeer peer = server_that(world, "ended-answer");
    for (Family family : families()) {
        CAPTURE(to_string(family));
        CHECK(fate(world.client.netns(), {.to = world.vip("down", family)}) == "end");
    }
    contentment(peer);
}

TEST_CASE(
    "h2 server: a tunnel that closes in mid-stream is a reset for the app, with close_notify or "
    "without" BOTH_FAMILIES) {
    World& world = World::shared();
    for (const std::string habit : {"abrupt", "closing"}) {
        CAPTURE(habit);
        PythonPeer peer = server_that(world, habit);
        for (Family family : families()) {
            CAPTURE(to_string(family));
            world.mark();
            Connection app = world.client.dial(world.vip("down", family));
            REQUIRE(app.echoes("hello"));
            CHECK(app.ending() == "reset");
            const std::string error = world.one.access_log().wait_for({{"direction", "outbound"}})["error"];
            CAPTURE(error);
            CHECK(error.find("the peer closed the tunnel") != std::string::npos);
        }
        contentment(peer);
    }
}

}
