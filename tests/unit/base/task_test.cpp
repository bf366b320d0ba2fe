// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/socket.hpp>
#include <culvert/base/task.hpp>

#include <doctest/doctest.h>

using namespace culvert::base;
using namespace std::chrono_literals;

namespace {

struct SaysGoodbye {
    std::string& diary;
    ~SaysGoodbye() { diary += "bye "; }
};

Task<Result<int>> answer_after(Loop& loop, Loop::Clock::duration time, std::string& diary) {
    SaysGoodbye guard{diary};
    co_await sleep_for(loop, time);
    co_return 42;
}

Task<> ask(Loop& loop, Loop::Clock::duration limit, Loop::Clock::duration time, std::string& diary) {
    auto answer = co_await within(loop, limit, "ask", answer_after(loop, time, diary));
    diary += answer ? std::to_string(*answer) : answer.error().to_string();
    loop.stop();
}

Task<> wait_for_ever(Loop& loop, std::string& diary) {
    SaysGoodbye guard{diary};
    Event never{loop};
    co_await never;
    diary += "resumed ";
}

Task<> out_of_memory() {
    throw std::bad_alloc{};
    co_return;
}

}

TEST_SUITE("base") {

TEST_CASE("within: the work's own answer when it is in time") {
    Loop loop;
    TaskGroup group{loop};
    std::string diary;
    group.spawn(ask(loop, 1s, 1ms, diary));
    loop.run();
    CHECK(diary == "bye 42");
}

TEST_CASE("within: work that is late is destroyed where it waits, and the error says what we were doing") {
    Loop loop;
    TaskGroup group{loop};
    std::string diary;
    group.spawn(ask(loop, 1ms, 1s, diary));
    loop.run();
    CHECK(diary == "bye ask: Connection timed out (os error 110)");
}

TEST_CASE("task group: ending it runs the destructors of tasks that wait") {
    Loop loop;
    std::string diary;
    TaskGroup group{loop};
    group.spawn(wait_for_ever(loop, diary));
    group.spawn(wait_for_ever(loop, diary));
    CHECK(group.size() == 2);
    group.cancel_all();
    CHECK(group.size() == 0);
    CHECK(diary == "bye bye ");
}

TEST_CASE("task group: a task that runs out of memory ends alone") {
    Loop loop;
    std::string diary;
    TaskGroup group{loop};
    group.spawn(wait_for_ever(loop, diary));
    group.spawn(out_of_memory());
    CHECK(group.size() == 1);
}

TEST_CASE("connect: a closed port is refused in the kernel's words") {
    Loop loop;
    TaskGroup group{loop};
    std::string text;
    auto call = [](Loop& l, std::string& out) -> Task<> {
        Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        auto socket = co_await connect(l, std::move(fd), *SocketAddress::parse("127.0.0.1:1"));
        out = socket ? "connected" : socket.error().cause();
        l.stop();
    };
    group.spawn(call(loop, text));
    loop.run();
    CHECK(text == "Connection refused (os error 111)");
}

}
