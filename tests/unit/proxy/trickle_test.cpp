// SPDX-License-Identifier: Apache-2.0
#include "trickle.hpp"

#include <doctest/doctest.h>

using namespace culvert::proxy;
using namespace std::chrono_literals;

namespace {

// Says so much so often, so long after each other; whether it gathers then.
struct App {
    Trickle trickle;
    Trickle::Clock::time_point now{1h};

    bool says(std::size_t bytes, int times, std::chrono::microseconds gap) {
        for (int i = 0; i < times; ++i) trickle.said(bytes, now += gap);
        return trickle.gathers();
    }
};

}

TEST_SUITE("proxy") {

TEST_CASE("trickle: drops that nobody answers are gathered, and it stays so while that makes larger frames") {
    App app;
    CHECK_FALSE(app.says(1, 15, 10us));
    CHECK(app.says(255, 2, 10us));
    CHECK(app.says(500, 1000, 550us));
    CHECK(app.trickle.moment() == 500us);
}

TEST_CASE("trickle: the moment is as long as it takes to make frames that are large enough, and no longer") {
    App app;
    CHECK(app.says(1, 18, 10us));
    CHECK(app.trickle.moment() == 1ms);
    CHECK(app.says(20, 10, 1ms));
    CHECK(app.trickle.moment() == 8ms);
    CHECK(app.says(300, 10, 8ms));
    CHECK(app.trickle.moment() == 8ms);
    CHECK(app.says(1024, 10, 1ms));
    CHECK(app.trickle.moment() == 500us);
}

TEST_CASE("trickle: a dialogue, a pause, frames that are large enough, and bulk are never waited for") {
    App app;
    for (int i = 0; i < 1000; ++i) {
        app.trickle.heard();
        CHECK_FALSE(app.says(1, 1, 10us));
    }
    CHECK_FALSE(app.says(1, 1000, 150us));
    CHECK_FALSE(app.says(256, 1000, 10us));
    for (int i = 0; i < 100; ++i) {
        CHECK_FALSE(app.says(1, 14, 10us));
        CHECK_FALSE(app.says(1, 1, 20ms));
    }
    for (const auto& [bytes, gap] : {std::pair{32768, 1100us}, {1, 20'000us}}) {
        CHECK(app.says(1, 20, 10us));
        CHECK_FALSE(app.says(static_cast<std::size_t>(bytes), 1, gap));
    }
    CHECK(app.says(1, 20, 10us));
    app.trickle.heard();
    CHECK_FALSE(app.trickle.gathers());
}

}
