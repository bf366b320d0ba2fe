// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/loop.hpp>

#include <sys/socket.h>

#include <doctest/doctest.h>

#include <thread>

using namespace culvert::base;
using namespace std::chrono_literals;

namespace {

struct Pair {
    Pair() {
        int raw[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, raw) == 0);
        near = Fd{raw[0]};
        far = Fd{raw[1]};
    }
    Fd near, far;
};

struct Call : Ready {
    std::function<void(std::uint32_t)> then;
    void on_ready(std::uint32_t events) override { then(events); }
};

}

TEST_SUITE("base") {

TEST_CASE("loop: timers fire in order of their deadlines, and a cancelled one never") {
    Loop loop;
    std::string order;
    Timer late{loop, [&] {
                   order += "late";
                   loop.stop();
               }};
    Timer early{loop, [&] { order += "early "; }};
    Timer never{loop, [&] { order += "never "; }};
    late.arm(20ms);
    early.arm(5ms);
    never.arm(1ms);
    never.cancel();
    loop.run();
    CHECK(order == "early late");
}

TEST_CASE("loop: mail from another thread arrives in order and wakes the loop") {
    Loop loop;
    std::string order;
    std::thread other{[&] {
        loop.post([&] { order += "1"; });
        loop.post([&] { order += "2"; });
        loop.stop();
    }};
    loop.run();
    other.join();
    CHECK(order == "12");
}

TEST_CASE("loop: an event already fetched is not delivered to a watch that has ended") {
    Loop loop;
    Pair a, b;
    Call on_a, on_b;
    auto watch_a = std::make_unique<Watch>(loop, on_a);
    auto watch_b = std::make_unique<Watch>(loop, on_b);
    int delivered = 0;
    auto end_both = [&](std::uint32_t) {
        ++delivered;
        watch_a.reset();
        watch_b.reset();
    };
    on_a.then = on_b.then = end_both;
    REQUIRE(watch_a->start(a.near.get(), EPOLLIN));
    REQUIRE(watch_b->start(b.near.get(), EPOLLIN));
    REQUIRE(::write(a.far.get(), "x", 1) == 1);
    REQUIRE(::write(b.far.get(), "x", 1) == 1);
    Timer stop{loop, [&] { loop.stop(); }};
    stop.arm(10ms);
    loop.run();
    CHECK(delivered == 1);
}

TEST_CASE("loop: what asks for the round's end is called once, after all events of the round") {
    struct Flush : RoundEnd {
        int calls = 0, seen = 0;
        int* events = nullptr;
        void on_round_end() override {
            ++calls;
            seen = *events;
        }
    };
    Loop loop;
    Pair a, b;
    int events = 0;
    Flush flush;
    flush.events = &events;
    Call call;
    call.then = [&](std::uint32_t) {
        ++events;
        loop.at_round_end(flush);
    };
    Watch watch_a{loop, call}, watch_b{loop, call};
    REQUIRE(::write(a.far.get(), "x", 1) == 1);
    REQUIRE(::write(b.far.get(), "x", 1) == 1);
    REQUIRE(watch_a.start(a.near.get(), EPOLLIN));
    REQUIRE(watch_b.start(b.near.get(), EPOLLIN));
    Timer stop{loop, [&] { loop.stop(); }};
    stop.arm(10ms);
    loop.run();
    CHECK(flush.calls == 1);
    CHECK(flush.seen == 2);
}

}
