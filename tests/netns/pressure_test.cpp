// SPDX-License-Identifier: Apache-2.0
// Much at once, or too fast: who waits for whom, and what it costs.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <future>
#include <latch>
#include <thread>

#include <culvert/base/netns.hpp>

#include "outcome.hpp"
#include "pattern.hpp"
#include "server.hpp"
#include "world.hpp"

namespace base = culvert::base;
using namespace culvert::test;

namespace {

base::Result<base::Fd> one_after_another(std::uint16_t port) {
    base::Fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_storage raw;
    const socklen_t length = SocketAddress{IpAddress::any(AF_INET), port}.to(raw);
    if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0) return base::errno_while("bind");
    if (::listen(listener.get(), 128) != 0) return base::errno_while("listen");
    return listener;
}

const Pattern up{1};
const Pattern down{2};

}

TEST_SUITE("pressure") {

TEST_CASE("call: 200 connections at once, to both nodes, all answered" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server near{world.near.netns(), 8080, apps::echo};
        Server far{world.far.netns(), 8080, apps::echo};
        std::vector<Connection> open;
        for (int i = 0; i < 200; ++i) open.push_back(world.client.dial(world.vip(i % 2 == 0 ? "near" : "far", family)));
        for (std::size_t i = 0; i < open.size(); ++i) open[i].send("number " + std::to_string(i));
        for (std::size_t i = 0; i < open.size(); ++i) {
            const std::string own = "number " + std::to_string(i);
            CHECK(open[i].receive(own.size()) == own);
        }
        CHECK(near.guests().size() == 100);
        CHECK(far.guests().size() == 100);
    }
}

TEST_CASE("call: more short calls than there are ports get past 1000 that stay" IPV4) {
    constexpr int staying = 1000;
    constexpr int passing = 24'000;  // the far side has 22528 source ports for them: every one comes round
    World& world = World::shared();
    auto listener = base::in_netns(world.far.netns(), [] { return one_after_another(8082); });
    REQUIRE(listener.has_value());
    std::vector<base::Fd> kept;
    std::thread app{[&] {
        for (char bytes[5];;) {
            base::Fd call{::accept(listener->get(), nullptr, nullptr)};
            if (!call) return;
            if (::recv(call.get(), bytes, sizeof bytes, MSG_WAITALL) == 5)
                (void)::send(call.get(), bytes, 5, MSG_NOSIGNAL);
            if (kept.size() < staying) kept.push_back(std::move(call));
        }
    }};
    auto answered = [&](Connection& call) {
        try {
            return call.echoes("hello");
        } catch (const std::exception&) {
            return false;
        }
    };
    std::vector<Connection> stay;
    int failed = 0;
    for (int i = 0; i < staying + passing && failed < 10; ++i) {
        Connection call = world.client.dial(world.far.at(Family::v4, 8082));
        if (!answered(call)) ++failed;
        if (i < staying) stay.push_back(std::move(call));
    }
    CHECK(failed == 0);
    ::shutdown(listener->get(), SHUT_RDWR);
    app.join();
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
            const std::uint64_t taken = upload ? stuff(app, pattern, offered) : taken_at_server.get_future().get();
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

TEST_CASE("bytes: a reader that is slow but never stops costs no more memory than one that has" IPV4) {
    World& world = World::shared();
    for (const Path& path : paths(world)) {
        CAPTURE(path.name);
        Server server{path.server.netns(), 8080,
                      [](Connection& connection) { stuff(connection, down, 4096 * mebibyte); }};
        Connection app = path.client.dial(path.server.at(Family::v4, 8080));
        const std::size_t before = world.one.resident_bytes() + world.two.resident_bytes();
        Stopwatch watch;
        std::uint64_t taken = 0;
        while (watch.elapsed() < 4s) {
            taken += app.receive_some(65536).size();
            std::this_thread::sleep_for(1ms);  // this is the slow reader
        }
        CHECK(taken > 16 * mebibyte);
        CHECK(world.one.resident_bytes() + world.two.resident_bytes() < before + 32 * mebibyte);
        app.reset();
    }
}

TEST_CASE("bytes: a dozen stalled readers do not hold up new calls to the same peer" IPV4) {
    World& world = World::shared();
    Server pours{world.far.netns(), 8080, [](Connection& connection) { stuff(connection, down, 64 * mebibyte); }};
    Server echo{world.far.netns(), 8081, apps::echo};
    std::vector<Connection> stalled;
    for (int i = 0; i < 12; ++i) stalled.push_back(world.client.dial(world.far.at(Family::v4, 8080)));
    for (Connection& app : stalled) CHECK_FALSE(app.receive_some(1).empty());
    std::this_thread::sleep_for(500ms);  // for their windows to fill; there is nothing to see that it is so
    for (int i = 0; i < 12; ++i) {
        Stopwatch watch;
        CHECK(world.client.dial(world.far.at(Family::v4, 8081)).echoes("through"));
        CHECK(watch.elapsed() < 2s);
    }
    for (Connection& app : stalled) app.reset();
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

TEST_CASE("bytes: with two workers, both carry their share" IPV4 EBPF_ONLY(
    "workers share the one socket of a port; whoever wakes first accepts")) {
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
