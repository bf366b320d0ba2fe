// SPDX-License-Identifier: Apache-2.0
// The ground the other cases stand on, without a daemon: when these fail, nothing else means anything.
#include <doctest/doctest.h>

#include "access_log.hpp"
#include "outcome.hpp"
#include "pattern.hpp"
#include "server.hpp"
#include "tap.hpp"

using namespace culvert::test;

TEST_SUITE("lab") {

TEST_CASE("lab: pods of both nodes reach one another, and a tap sees what they say" BOTH_FAMILIES NO_CAPTURE) {
    Lab lab;
    const Pod& here = lab.add_pod("here", 1, 10);
    const Pod& there = lab.add_pod("there", 2, 10);
    Server echo{there.netns(), 0, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Tap wire{lab.node_netns(1), "wire"};
        Connection app = here.dial(there.at(family, echo.port()));
        CHECK(app.echoes("seen by the tap"));
        const auto passed = wire.packets();
        CHECK(holding(passed, "seen by the tap").size() == 2);
        CHECK(outside_tunnels(passed).size() == passed.size());
        CHECK(not_tls(passed).size() == 2);
    }
    CHECK(echo.guest(1).from.ip == here.ip(Family::v6));
}

TEST_CASE(
    "lab: without a mesh a service address is refused, a pulled wire swallows everything" BOTH_FAMILIES NO_CAPTURE) {
    Lab lab;
    const Pod& here = lab.add_pod("here", 1, 10);
    const Pod& there = lab.add_pod("there", 2, 10);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const Attempt service = here.attempt({*IpAddress::parse(family == Family::v4 ? "10.96.0.80" : "fd96::80"), 80});
        CHECK(service.error != 0);
        CHECK(service.took < 5s);
        CHECK(here.attempt(there.at(family, 9)).error == ECONNREFUSED);
    }
    lab.pull_wire();
    for (Family family : families()) CHECK(here.attempt(there.at(family, 9), 200ms).error == ETIMEDOUT);
    lab.plug_wire();
    for (Family family : families()) CHECK(here.attempt(there.at(family, 9)).error == ECONNREFUSED);
}

TEST_CASE("lab: a byte that is lost, doubled or swapped is noticed" IPV4 NO_CAPTURE) {
    const Pattern pattern{7};
    std::string bytes{pattern.at(100, 5000)};
    CHECK(pattern.matches(100, bytes));
    CHECK_FALSE(pattern.matches(101, bytes));
    std::swap(bytes[40], bytes[4000]);
    CHECK_FALSE(pattern.matches(100, bytes));

    Lab lab{1};
    const Pod& pod = lab.add_pod("pod", 1, 10);
    Server source{pod.netns(), 0, [&](Connection& connection) { pour(connection, pattern, 3'000'000); }};
    Connection app = pod.dial(pod.at(Family::v4, source.port()));
    const Received received = drain(app, pattern);
    CHECK(received.bytes == 3'000'000);
    CHECK_FALSE(received.first_wrong);
}

TEST_CASE("lab: access lines are read in both shapes" IPV4 NO_CAPTURE) {
    const auto text = parse_access_line(
        "2026-01-02T03:04:05.678901Z\terror\taccess\tconnection complete\t"
        "src.addr=10.0.1.5:41234 src.workload=\"a\\\"b\" bytes_sent=3 error=\"x y\"");
    REQUIRE(text);
    CHECK(text->level == "error");
    CHECK((*text)["src.workload"] == "a\"b");
    CHECK((*text)["error"] == "x y");
    CHECK(text->shape() == std::vector<std::string>{"src.addr", "src.workload=quoted", "bytes_sent", "error=quoted"});

    const auto json = parse_access_line(R"({"level":"info","time":"t","scope":"access","message":"m","bytes_sent":3})");
    REQUIRE(json);
    CHECK(json->message == "m");
    CHECK(json->shape().back() == "bytes_sent");
    CHECK_FALSE(parse_access_line("2026-01-02T03:04:05.678901Z\tinfo\tproxy\tready"));
}

}
