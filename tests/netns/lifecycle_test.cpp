// SPDX-License-Identifier: Apache-2.0
// Pods end, and others come in their place, with their address.
#include <doctest/doctest.h>

#include "mortal.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

void forget(World& world, const Pod& pod) {
    std::erase_if(world.mesh.workloads, [&](const Workload& each) { return each.pod == &pod; });
    world.reconfigure();
    for (Node* node : {&world.one, &world.two}) REQUIRE(node->says({"applied"}));
}

}

TEST_SUITE("lifecycle") {

TEST_CASE(
    "lifecycle: a pod that ends with all its processes leaves nothing behind, and its callers are told" BOTH_FAMILIES) {
    World world;
    const std::size_t before = entries(world.one);
    Mortal mortal{world};
    for (Family family : families()) {
        auto own = std::make_unique<Server>(mortal.pod.netns(), 8080, apps::echo);
        auto far = std::make_unique<Server>(world.far.netns(), 8080, apps::echo);
        auto plain = std::make_unique<Server>(world.plain2.netns(), 8080, apps::echo);
        std::vector<Connection> callers;
        for (const Pod* caller : {&world.client, &world.far, &world.plain2, &world.plain1})
            callers.push_back(caller->dial(mortal.pod.at(family, 8080)));
        std::vector<Connection> its_own;
        its_own.push_back(mortal.pod.dial(world.far.at(family, 8080)));
        its_own.push_back(mortal.pod.dial(world.plain2.at(family, 8080)));
        for (auto* all : {&callers, &its_own})
            for (Connection& app : *all) CHECK(app.echoes("alive"));
        own.reset();
        its_own.clear();
        for (Connection& app : callers) CHECK(app.ending(5s) != "silence");
    }
    CHECK(mortal.is_quiet());
    world.lab.end_pod(mortal.pod);
    CHECK(world.one.says({"is gone"}, 10s));
    CHECK(mortal.is_gone());
    CHECK(eventually(15s, [&] { return entries(world.one) == before; }));
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("others go on"));
}

TEST_CASE(
    "lifecycle: a pod's netns that goes in mid-connection is let go of, and so are the connections" BOTH_FAMILIES
        EBPF_ONLY("addresses of redirected connections go with the cable, so their ends do not reach each other")) {
    World world;
    const std::size_t before = entries(world.one);
    Mortal mortal{world};
    {
        Server own{mortal.pod.netns(), 8080, apps::echo};
        Server far{world.far.netns(), 8080, apps::echo};
        std::vector<Connection> inside;
        std::vector<Connection> outside;
        for (Family family : families()) {
            inside.push_back(mortal.pod.dial(world.far.at(family, 8080)));
            outside.push_back(world.client.dial(mortal.pod.at(family, 8080)));
            outside.push_back(world.plain2.dial(mortal.pod.at(family, 8080)));
        }
        for (auto* all : {&inside, &outside})
            for (Connection& app : *all) CHECK(app.echoes("alive"));
        world.lab.end_pod(mortal.pod);
        CHECK(world.one.says({"is gone"}, 10s));
        for (Connection& app : inside) CHECK(app.ending(5s) == "reset");
        CHECK(eventually(15s, [&] { return entries(world.one) == before; }));
    }
    CHECK(mortal.is_gone());
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("others go on"));
}

TEST_CASE("lifecycle: a pod with the address of one that has just ended is itself, in the mesh or not" BOTH_FAMILIES) {
    World world;
    Mortal mortal{world};
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Connection old = mortal.pod.dial(world.far.at(Family::v4, 8080));
    CHECK(old.echoes("old"));
    old.end_sending();
    CHECK(old.receive_all() == "");
    old.close();
    CHECK(mortal.is_quiet());
    world.lab.end_pod(mortal.pod);
    Pod& heir = world.lab.add_pod("heir", 1, mortal.pod.index());
    Server own{heir.netns(), 8080, apps::echo};
    const auto check_untouched = [&](Family family) {
        CAPTURE(to_string(family));
        Tap cable{world.lab.node_netns(1), heir.host_link()};
        CHECK(heir.dial(world.plain2.at(family, 8080)).echoes("in the clear"));
        CHECK(heir.dial(world.far.at(family, 8080)).echoes("in the clear"));
        CHECK(world.plain2.dial(heir.at(family, 8080)).echoes("in the clear"));
        CHECK(Connection::open(world.lab.node_netns(1), {.to = heir.at(family, 8080)}).echoes("in the clear"));
        CHECK(own.last_guest().from.ip != world.plain2.ip(family));
        CHECK_FALSE(holding(cable.packets(), "in the clear").empty());
        CHECK(left_in(heir) == "");
    };
    for (Family family : families()) check_untouched(family);  // at once
    forget(world, mortal.pod);
    CHECK(mortal.is_gone());
    for (Family family : families()) {
        check_untouched(family);
        CHECK(world.client.dial(heir.at(family, 8080)).echoes("plainly, out of the mesh"));
    }
    world.describe(heir);
    world.mesh.workload(heir).service_account = "heir";
    world.join(heir);
    for (Family family : families()) {
        world.mark();
        Tap cable{world.lab.node_netns(1), heir.host_link()};
        CHECK(heir.dial(world.far.at(family, 8080)).echoes(secret));
        CHECK(world.client.dial(heir.at(family, 8080)).echoes(secret));
        CHECK(let_out(cable.packets(), {world.far.ip(family), world.client.ip(family)}, secret) == "");
        world.two.access_log().wait_for({{"direction", "inbound"}, {"src.identity", world.mesh.identity(heir)}});
    }
}

}
