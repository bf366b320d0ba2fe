// SPDX-License-Identifier: Apache-2.0
#include <on_demand.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "play.hpp"

using namespace culvert;
using namespace std::chrono_literals;

namespace {

base::IpAddress ip(const char* text) {
    return *base::IpAddress::parse(text);
}

// A worker's loop, the connections on it that wait, and who is asked.
struct Worker {
    struct Waiter {
        std::string end = "waits";  // then "goes on", or the error
    };
    struct Asked {
        std::string name;
        std::function<void(bool)> answered;
    };

    Waiter& wait(const char* target) {
        waiters.emplace_back();
        connections.spawn(wait_on(*this, ip(target), waiters.back()));
        return waiters.back();
    }
    static base::Task<> wait_on(Worker& worker, base::IpAddress target, Waiter& waiter) {
        auto waiting = worker.on_demand.wait("net", target);
        auto answer = co_await std::move(waiting);
        waiter.end = answer ? "goes on" : answer.error().to_string();
    }
    bool must_wait(const char* target, const state::Snapshot& mesh = {{}, {}}) {
        state::Workload source;
        source.network = "net";
        source.namespace_ = "ns";
        return on_demand.must_wait(mesh, source, ip(target));
    }
    void play(base::Task<> story) { ::play(loop, connections, std::move(story)); }
    // What was posted has come, and who it woke has gone on.
    base::Task<> settle() {
        for (int round = 0; round < 3; ++round) {
            base::Event come{loop};
            loop.post([&come] { come.set(); });
            co_await come;
        }
    }

    base::Loop loop;
    proxy::Limits limits;
    std::vector<Asked> asked;
    proxy::AskMesh ask = [this](const std::string& name, std::function<void(bool)> answered) {
        asked.push_back({name, std::move(answered)});
    };
    proxy::OnDemand on_demand{loop, ask, limits};
    std::deque<Waiter> waiters;
    base::TaskGroup connections{loop};
};

base::Task<> one_question(Worker& worker) {
    CHECK(worker.must_wait("10.0.0.1"));
    auto& first = worker.wait("10.0.0.1");
    auto& second = worker.wait("10.0.0.1");
    auto& other = worker.wait("fd00::1");
    REQUIRE(worker.asked.size() == 2);
    CHECK(worker.asked[0].name == "net/10.0.0.1");
    CHECK(worker.asked[1].name == "net/fd00::1");
    worker.asked[0].answered(true);
    co_await worker.settle();
    CHECK(first.end == "goes on");
    CHECK(second.end == "goes on");
    CHECK(other.end == "waits");
    CHECK_FALSE(worker.must_wait("10.0.0.1"));
    CHECK(worker.must_wait("fd00::1"));
    worker.asked[1].answered(false);
    co_await worker.settle();
    CHECK(other.end == "istiod has not said who is at net/fd00::1");
    CHECK(worker.must_wait("fd00::1"));
}

base::Task<> silence(Worker& worker) {
    worker.limits.on_demand = 20ms;
    worker.limits.on_demand_again = 1ms;
    worker.limits.on_demand_kept = 0ms;
    auto& waiter = worker.wait("10.0.0.1");
    while (waiter.end == "waits") co_await base::sleep_for(worker.loop, 1ms);
    CHECK(waiter.end == "istiod has not said who is at net/10.0.0.1");

    worker.wait("10.0.0.1");
    CHECK(worker.asked.size() == 1);  // it is still asked for
    worker.asked[0].answered(true);
    co_await worker.settle();
    while (!worker.must_wait("10.0.0.1")) co_await base::sleep_for(worker.loop, 1ms);
    auto& again = worker.wait("10.0.0.1");
    CHECK(worker.asked.size() == 2);
    while (again.end == "waits") co_await base::sleep_for(worker.loop, 1ms);
    CHECK(again.end == "goes on");  // by what was said before
}

base::Task<> bounds(Worker& worker) {
    worker.limits.waiting_on_demand_per_worker = 1;
    worker.limits.addresses_on_demand_per_worker = 2;
    worker.wait("10.0.0.1");
    CHECK(worker.wait("10.0.0.2").end == "over a limit: connections that wait for what istiod knows of an address");
    for (const char* each : {"10.0.0.1", "10.0.0.3", "10.0.0.4"}) {
        worker.wait(each);
        worker.asked.back().answered(true);
        co_await worker.settle();
    }
    CHECK(worker.must_wait("10.0.0.1"));
    CHECK_FALSE(worker.must_wait("10.0.0.3"));
    CHECK_FALSE(worker.must_wait("10.0.0.4"));
}

}

TEST_SUITE("proxy") {

TEST_CASE("on demand: all connections to an address wait for one answer, and fail where it does not come") {
    Worker worker;
    worker.play(one_question(worker));
}

TEST_CASE("on demand: without an answer nobody goes on, but by an earlier one") {
    Worker worker;
    worker.play(silence(worker));
}

TEST_CASE("on demand: who waits, and what is remembered, is bounded; the oldest goes") {
    Worker worker;
    worker.play(bounds(worker));
}

TEST_CASE("on demand: nobody waits for who is in the mesh; a range that fits says nothing of who is nearer") {
    Worker worker;
    state::Workload there;
    there.uid = "w";
    there.network = "net";
    there.ips = {ip("10.0.0.1")};
    state::Service service;
    service.namespace_ = "ns";
    service.hostname = "h";
    service.vips = {{"net", ip("10.0.1.1")}};
    service.cidr_vips = {{"net", *state::Cidr::parse("10.0.2.0/24")}};
    const state::Snapshot mesh{{there}, {service}};
    CHECK_FALSE(worker.must_wait("10.0.0.1", mesh));
    CHECK_FALSE(worker.must_wait("10.0.1.1", mesh));
    CHECK(worker.must_wait("10.0.2.1", mesh));
    CHECK_FALSE(worker.must_wait("127.0.0.1", mesh));
    worker.ask = nullptr;
    CHECK_FALSE(worker.must_wait("10.0.2.1", mesh));
}

}
