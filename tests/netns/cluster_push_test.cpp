// SPDX-License-Identifier: Apache-2.0
// A large mesh is told of while a connection is in use: its bytes hardly notice. And what a node weighs in a cluster.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "in_cluster.hpp"
#include "outcome.hpp"
#include "server.hpp"

using namespace culvert::test;

namespace {

constexpr const char* once = "what a control plane says means the same in both";

using Took = std::vector<std::chrono::nanoseconds>;

// One after the other on a connection, and what each took.
class RoundTrips {
public:
    explicit RoundTrips(Connection app) : app_{std::move(app)}, thread_{[this] { go(); }} {}
    RoundTrips(const RoundTrips&) = delete;
    ~RoundTrips() {
        ending_ = true;
        thread_.join();
    }
    // Those since the last call.
    Took take() {
        std::lock_guard lock{mutex_};
        return std::exchange(took_, {});
    }

private:
    void go() {
        while (!ending_) {
            const auto began = std::chrono::steady_clock::now();
            if (!app_.echoes("there and back")) return;
            const auto took = std::chrono::steady_clock::now() - began;
            std::lock_guard lock{mutex_};
            took_.push_back(took);
        }
    }

    Connection app_;
    std::atomic<bool> ending_{false};
    std::mutex mutex_;
    Took took_;
    std::thread thread_;
};

double p99_us(Took took) {
    REQUIRE(took.size() > 1000);
    const auto at = took.begin() + static_cast<std::ptrdiff_t>(took.size() * 99 / 100);
    std::ranges::nth_element(took, at);
    return std::chrono::duration<double, std::micro>{*at}.count();
}

}

TEST_SUITE("cluster_push") {

TEST_CASE("cluster push: an idle node of a cluster has at most 18 MB in memory" IPV4 EBPF_ONLY(once)) {
    World world{{}, true};
    Server echo{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("a first call"));
    std::this_thread::sleep_for(1s);  // what starting took is given back a moment later
    for (Node* node : {&world.one, &world.two}) {
        const double megabytes = static_cast<double>(node->resident_bytes()) / 1e6;
        MESSAGE("idle: " << megabytes << " MB");
        CHECK(megabytes <= 18);
    }
}

TEST_CASE("cluster push: round trips hardly notice 10 000 workloads and 1 000 services" IPV4 EBPF_ONLY(once)) {
    constexpr auto window = 1500ms;
    constexpr double most = 1.5;
    constexpr std::size_t rounds = 5;
    World world{{}, true};
    Server echo{world.far.netns(), 8080, apps::echo};
    RoundTrips trips{world.client.dial(world.far.at(Family::v4, 8080))};
    std::this_thread::sleep_for(500ms);
    std::vector<double> ratios;
    for (std::size_t round = 0; round < rounds; ++round) {
        order(world, "many", R"("workloads": 10000, "services": 1000, "quietly": true)");
        trips.take();
        std::this_thread::sleep_for(window);
        const double control = p99_us(trips.take());
        order(world, "tell");
        for (Node* node : {&world.one, &world.two})
            REQUIRE(node->says({"received response", "workload.Address", "size=11000"}, 30s));
        std::this_thread::sleep_for(window);
        const double pushed = p99_us(trips.take());
        MESSAGE("p99: " << control << " us, while it is told " << pushed << " us");
        ratios.push_back(pushed / control);
        world.reconfigure();
        for (Node* node : {&world.one, &world.two}) REQUIRE(node->says({"received response", "removes=11000"}, 30s));
    }
    std::ranges::sort(ratios);
    CHECK(ratios[rounds / 2] <= most);
}

}
