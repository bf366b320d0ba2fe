// SPDX-License-Identifier: Apache-2.0
// Memory that runs out in a worker, at each place where a connection asks for some: it ends the connection, or the
// tunnel, and nothing else.
//
// Environment: CULVERT_SHORTAGE_TRIES (100), how many places of a tunnel's beginning are tried; its handshake alone has
// thousands. CULVERT_SHORTAGE_SEED (1) decides which.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "failing_malloc.hpp"
#include "orders.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr const char* once = "what a worker does with memory does not depend on the capture";

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

class ShortageOrders : public Orders<MallocOrders> {
public:
    ShortageOrders() : Orders{CULVERT_FAILING_MALLOC, "CULVERT_MALLOC_ORDERS"} {}

    void arm(pid_t daemon, std::uint64_t first, std::uint64_t burst) {
        auto& orders = *this;
        orders->seen = 0;
        orders->failed = 0;
        orders->first = first;
        orders->burst = burst;
        orders->armed_for = daemon;
    }
    void disarm() { (*this)->armed_for = 0; }
    std::uint64_t seen() const { return (*this)->seen; }
    std::uint64_t failed() const { return (*this)->failed; }
};

// "whole", "ended", or what must not be.
std::string call(const Pod& from, const SocketAddress& to) {
    const std::string text(3000, 'x');
    try {
        Connection connection = from.dial({.to = to, .limit = 15s});
        connection.limit(15s);
        if (!connection.echoes(text)) return "wrong bytes";
        connection.end_sending();
        return connection.receive_some().empty() ? "whole" : "more bytes than were sent";
    } catch (const std::system_error& failure) {
        return failure.code().value() == ETIMEDOUT ? "silence" : "ended";
    } catch (const std::runtime_error& failure) {
        return std::string{"a clean end: "} + failure.what();
    }
}

struct Shortages {
    explicit Shortages(World& in) : world{in} {
        for (int i = 0; i < 4; ++i) {
            others.push_back(world.near.dial(world.far.at(Family::v4, 8080)));
            others.push_back(world.near.dial(world.plain2.at(Family::v6, 8080)));
        }
        for (Connection& other : others) REQUIRE(other.echoes("before"));
    }

    // One call while the allocations from `first` on fail. False when the call had no so many.
    bool strike(Node& node, const Pod& from, const SocketAddress& to, std::uint64_t first, std::uint64_t burst) {
        orders.arm(node.pid(), first, burst);
        const std::string ended = call(from, to);
        orders.disarm();
        INFO("allocation " << first << " and " << burst - 1 << " more, node " << node.number());
        CHECK((ended == "whole" || ended == "ended"));
        REQUIRE(node.running());
        for (Connection& other : others) REQUIRE(other.echoes("undisturbed"));
        if (ended != "whole") ++lost;
        failed += orders.failed();
        ++tries;
        if (tries % 8 == 0 || ended != "whole") CHECK(call(from, to) == "whole");
        return orders.failed() > 0;
    }
    World& world;
    static inline ShortageOrders orders;
    std::vector<Connection> others;
    std::uint64_t failed = 0, tries = 0, lost = 0;
};

void end_tunnels(const Pod& pod) {
    run({"ss", "-K", "-tn", "dport", "=", "15008"}, pod.netns());
}

}

TEST_SUITE("shortage") {

TEST_CASE(
    "shortage: wherever a connection asks for memory and gets none, it ends alone" BOTH_FAMILIES EBPF_ONLY(once)) {
    const auto most = number_from("CULVERT_SHORTAGE_TRIES", 100);
    std::mt19937_64 random{number_from("CULVERT_SHORTAGE_SEED", 1)};
    auto preloaded = std::make_unique<ShortageOrders::Preloaded>(Shortages::orders);
    World world;
    preloaded.reset();
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Shortages shortages{world};
    const SocketAddress target = world.far.at(Family::v6, 8080);

    // On a tunnel that is there, and without one: every place.
    struct Way {
        const char* name;
        Node& node;
        const Pod& from;
        SocketAddress to;
    };
    const Way ways[] = {{"out", world.one, world.client, target},
                        {"in", world.two, world.client, target},
                        {"plain out", world.one, world.client, world.plain2.at(Family::v4, 8080)},
                        {"plain in", world.two, world.plain1, world.far.at(Family::v4, 8080)}};
    for (const Way& way : ways) {
        CAPTURE(way.name);
        for (std::uint64_t burst : {1, 12}) {
            CHECK(call(way.from, way.to) == "whole");
            std::uint64_t first = 0;
            while (first < 400 && shortages.strike(way.node, way.from, way.to, first, burst)) ++first;
            std::printf("shortage: %s: %llu places\n", way.name, static_cast<unsigned long long>(first));
            CHECK(first > 5);
            CHECK(first < 400);
        }
    }
    // A tunnel's beginning.
    for (Node* node : {&world.one, &world.two}) {
        CAPTURE(node->number());
        end_tunnels(world.client);
        shortages.orders.arm(node->pid(), UINT64_MAX, 0);
        CHECK(call(world.client, target) == "whole");
        shortages.orders.disarm();
        const std::uint64_t places = shortages.orders.seen();
        std::printf("shortage: a tunnel's beginning, node %d: %llu places\n", node->number(),
                    static_cast<unsigned long long>(places));
        CHECK(places > 100);
        for (std::uint64_t i = 0; i < most; ++i) {
            end_tunnels(world.client);
            shortages.strike(*node, world.client, target, random() % places, i % 2 == 0 ? 1 : 12);
        }
    }
    std::printf("shortage: %llu calls, %llu allocations failed, %llu calls lost\n",
                static_cast<unsigned long long>(shortages.tries), static_cast<unsigned long long>(shortages.failed),
                static_cast<unsigned long long>(shortages.lost));
    for (Node* node : {&world.one, &world.two}) {
        CAPTURE(node->number());
        CHECK(node->says({"out of memory"}, 0ms));
        CHECK(total(node->metrics(), "culvert_out_of_memory_total") > 0);
    }
    // And nothing is held for those that were lost.
    const double open = static_cast<double>(shortages.others.size());
    CHECK(eventually(10s, [&] { return total(world.one.metrics(), "culvert_proxy_connections_open") == open; }));
}

}
