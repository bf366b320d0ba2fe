// SPDX-License-Identifier: Apache-2.0
#include <tls/schedule.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "fixtures.hpp"

using namespace fixtures;
using namespace std::chrono_literals;
using tls::Now;
using tls::Schedule;

namespace {

const Now begin{tls::SystemTime{} + 500'000h, tls::Steady::time_point{} + 1000h};

Now after(tls::Steady::duration time) {
    return {begin.wall + std::chrono::duration_cast<tls::SystemTime::duration>(time), begin.steady + time};
}

Identity number(int i) {
    return {"cluster.local", "shop", "sa-" + std::to_string(100 + i)};
}

tls::Credentials until(const Now& now, std::chrono::seconds life) {
    tls::Credentials made;
    made.not_before = now.wall - 2min;
    made.not_after = now.wall + life;
    return made;
}

// Taken and answered well.
void issue(Schedule& schedule, const Now& now, std::chrono::seconds life) {
    auto ticket = schedule.take(now);
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    schedule.issued(ticket->identity, now, until(now, life));
}

void fail(Schedule& schedule, const Now& now) {
    auto ticket = schedule.take(now);
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    schedule.failed(ticket->identity, now, std::nullopt);
}

}

TEST_SUITE("tls") {
TEST_CASE("schedule: an identity is asked for when it comes, and again at half of what is left of its certificate") {
    Schedule schedule{1};
    schedule.add(alice, begin);
    issue(schedule, begin, 24h);
    CHECK(!schedule.take(after(12h - 1s)));
    auto due = *schedule.next(begin);
    CHECK(due >= after(12h).steady);
    CHECK(due <= after(12h + 36min).steady);  // a twentieth of it
    CHECK(schedule.take(after(12h + 36min)));
    CHECK(!schedule.take(after(13h)));  // one request at a time
}

TEST_CASE("schedule: certificates made together do not stay in step") {
    Schedule schedule{1};
    for (int i = 0; i < 5; ++i) schedule.add(number(i), begin);
    for (int i = 0; i < 5; ++i) issue(schedule, begin, 24h);
    std::set<tls::Steady::time_point> due;
    for (int i = 0; i < 5; ++i) due.insert(schedule.next_try(number(i)));
    CHECK(due.size() == 5);
}

TEST_CASE("schedule: who is waited for goes first, then who is new, then who is renewed; the longest due before") {
    Schedule schedule{1};
    for (int i = 0; i < 3; ++i) {
        schedule.add(number(i), begin);
        issue(schedule, begin, 2s);
    }
    const Now later = after(3s);
    schedule.add(number(3), after(2s));
    schedule.add(number(4), after(1s));
    schedule.add(number(5), after(2500ms));
    schedule.raise(number(5), later);
    CHECK(schedule.take(later)->identity == number(5));
    CHECK(schedule.take(later)->identity == number(4));
    CHECK(schedule.take(later)->identity == number(3));
    std::set<Identity> rest;
    for (int i = 0; i < 3; ++i) rest.insert(schedule.take(later)->identity);
    CHECK(rest == std::set{number(0), number(1), number(2)});
}

TEST_CASE("schedule: at most eight at a time, and one place is kept for who is waited for") {
    Schedule schedule{1};
    for (int i = 0; i < 20; ++i) schedule.add(number(i), begin);
    std::vector<Schedule::Ticket> taken;
    while (auto ticket = schedule.take(begin)) taken.push_back(*ticket);
    CHECK(taken.size() == 7);
    CHECK(!schedule.next(begin));  // only an answer makes room
    schedule.raise(number(19), begin);
    schedule.raise(number(18), begin);
    CHECK(schedule.take(begin)->identity == number(18));
    CHECK(!schedule.take(begin));
    CHECK(schedule.under_way() == 8);
    CHECK(schedule.answered(taken[0]));
    CHECK(schedule.take(begin)->identity == number(19));
}

TEST_CASE(
    "schedule: after a failure it waits a second, then twice as long each time, at most 150 s, with a fifth of play") {
    Schedule schedule{7};
    schedule.add(alice, begin);
    Now now = begin;
    for (double expected : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 150.0, 150.0, 150.0}) {
        CAPTURE(expected);
        auto ticket = schedule.take(now);
        REQUIRE(ticket);
        REQUIRE(schedule.answered(*ticket));
        const double wait = std::chrono::duration<double>(schedule.failed(alice, now, std::nullopt)).count();
        CHECK(wait >= 0.8 * expected - 0.002);
        CHECK(wait <= std::min(1.2 * expected, 150.0));
        schedule.raise(alice, now);  // makes it no shorter
        CHECK(!schedule.take({now.wall, schedule.next_try(alice) - 1ms}));
        now = {now.wall, schedule.next_try(alice)};
    }
    issue(schedule, now, 2s);
    now.steady += 2s;
    now.wall += 2s;
    auto ticket = schedule.take(now);
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    CHECK(schedule.failed(alice, now, std::nullopt) <= 1200ms);  // it went well in between
}

TEST_CASE("schedule: a certificate that ends before the wait does is asked for when it ends") {
    Schedule schedule{1};
    schedule.add(alice, begin);
    for (int i = 0; i < 6; ++i) fail(schedule, after(i * 100s));
    const Now now = after(1000s);
    auto ticket = schedule.take(now);
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    CHECK(schedule.failed(alice, now, now.wall + 5s) == 5s);
    ticket = schedule.take(after(1005s));
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    CHECK(schedule.failed(alice, after(1005s), now.wall + 5s) > 100s);  // over: no hurry any more
}

TEST_CASE("schedule: a wall clock that jumps past the half, or before the beginning, makes it due") {
    Schedule schedule{1};
    schedule.add(alice, begin);
    issue(schedule, begin, 24h);
    CHECK(!schedule.take({begin.wall + 11h, begin.steady}));
    CHECK(!schedule.take({begin.wall - 1min, begin.steady}));
    SUBCASE("forward") {
        CHECK(schedule.take({begin.wall + 13h, begin.steady}));
    }
    SUBCASE("back") {
        CHECK(schedule.take({begin.wall - 3min, begin.steady}));
    }
}

TEST_CASE("schedule: by a clock that is behind the CA's, a certificate is asked for once") {
    Schedule schedule{1};
    schedule.add(alice, begin);
    auto ticket = schedule.take(begin);
    REQUIRE(ticket);
    REQUIRE(schedule.answered(*ticket));
    tls::Credentials ahead = until(begin, 24h);
    ahead.not_before = begin.wall + 1h;
    schedule.issued(alice, begin, ahead);
    CHECK(!schedule.take(begin));
    CHECK(!schedule.take(after(11h)));
    CHECK(schedule.take(after(13h)));
}

TEST_CASE("schedule: the answer for one that has gone, or has come back since, is not wanted") {
    Schedule schedule{1};
    schedule.add(alice, begin);
    auto first = schedule.take(begin);
    REQUIRE(first);
    schedule.remove(alice);
    SUBCASE("gone") {
        CHECK(!schedule.answered(*first));
        CHECK(schedule.under_way() == 0);
    }
    SUBCASE("back") {
        schedule.add(alice, begin);
        auto second = schedule.take(begin);
        REQUIRE(second);
        CHECK(schedule.under_way() == 2);
        CHECK(!schedule.answered(*first));
        CHECK(schedule.answered(*second));
    }
}

TEST_CASE("schedule: new roots make all of them due, but not at once") {
    Schedule schedule{3};
    for (int i = 0; i < 20; ++i) schedule.add(number(i), begin);
    for (int i = 0; i < 19; ++i) issue(schedule, begin, 24h);
    fail(schedule, begin);
    schedule.renew_all(begin, 60s);
    CHECK(!schedule.take(begin));
    int renewed = 0;
    const Now now = after(60s);
    for (; auto ticket = schedule.take(now); ++renewed) {
        REQUIRE(schedule.answered(*ticket));
        schedule.issued(ticket->identity, now, until(now, 24h));
    }
    CHECK(renewed == 20);
}
}
