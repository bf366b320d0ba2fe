// SPDX-License-Identifier: Apache-2.0
// Who may talk to whom: refused when they come, and cut when a change says so.
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "policies.hpp"
#include "server.hpp"

using namespace culvert::test;

TEST_SUITE("policy") {

TEST_CASE("policy: an allow policy refuses what it does not match, with 401 and the recorded words" IPV4) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    Policies policies{world};
    policies.publish(policy("only-shop", "Namespace", "Allow", "principals: [!Exact cluster.local/ns/ns/sa/shop]"));
    check_answer(world, world.client, world.far, 8080, not_allowed);
    check_answer(world, world.plain2, world.far, 8080, not_allowed);
    world.mark();
    CHECK(fate(world.client.netns(), {.to = world.far.at(Family::v4, 8080)}) == "reset");
    const auto out =
        world.one.access_log().wait_for({{"direction", "outbound"}, {"error", "http status: 401 Unauthorized"}});
    CHECK(out.level == "error");
    const auto line = world.two.access_log().wait_for({{"direction", "inbound"}, {"error", not_allowed}});
    CHECK(line.message == "connection complete");
    CHECK(line.level == "error");
    CHECK(line["src.identity"] == world.mesh.identity(world.client));
    CHECK(world.two.metrics()["culvert_proxy_connections_closed_total{reason=\"denied\"}"] >= 2);

    policies.publish(policy("only-client", "Namespace", "Allow", "principals: [!Suffix /sa/client]"));
    check_answer(world, world.client, world.far, 8080, "yes");
    check_answer(world, world.plain2, world.far, 8080, not_allowed);
}

TEST_CASE("policy: a deny policy refuses what it matches and is named, in a dry run it is only counted" IPV4) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    Server other{world.far.netns(), 8081, apps::echo};
    Policies policies{world};
    policies.publish(policy("no-8080", "Global", "Deny", "destinationPorts: [8080]"));
    check_answer(world, world.client, world.far, 8080, denied + "ns/no-8080");
    check_answer(world, world.plain2, world.far, 8080, denied + "ns/no-8080");
    check_answer(world, world.client, world.far, 8081, "yes");
    check_answer(world, world.plain2, world.far, 8081, "yes");

    policies.publish(policy("rehearsal", "Global", "Deny", "destinationPorts: [8080]", true));
    check_answer(world, world.client, world.far, 8080, "yes");
    CHECK(world.two.metrics()["culvert_policy_decisions_total{policy=\"ns/rehearsal\"}"] >= 1);
}

TEST_CASE("policy: STRICT refuses plaintext and lets a tunnel through, where a workload names it" IPV4) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Policies policies{world};
    policies.publish(strict, "ns/strict", &world.far);
    check_answer(world, world.plain2, world.far, 8080, denied + "ns/strict");
    check_answer(world, world.client, world.far, 8080, "yes");
    check_answer(world, world.plain1, world.near, 8080, "yes");
}

TEST_CASE("policy: a change cuts exactly the live connections that it forbids" IPV4) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    Server other{world.far.netns(), 8081, apps::echo};
    Policies policies{world};
    struct Call {
        Pod& from;
        std::uint16_t port;
        Connection app;
    };
    std::vector<Call> calls;
    for (int i = 0; i < 20; ++i)
        for (Pod* from : {&world.client, &world.plain2})
            for (std::uint16_t port : {8080, 8081}) {
                calls.push_back({*from, port, from->dial(world.far.at(Family::v4, port))});
                REQUIRE(calls.back().app.echoes("hello"));
            }
    auto check = [&](const std::string& what, auto forbidden) {
        CAPTURE(what);
        for (Call& call : calls) {
            if (!call.app) continue;
            CAPTURE(call.from.name());
            CAPTURE(call.port);
            if (forbidden(call)) {
                CHECK(call.app.ending(5s) == "reset");
                call.app.close();
            } else {
                CHECK(call.app.echoes("still there"));
            }
        }
    };
    world.mark();
    policies.publish(policy("no-client", "Namespace", "Deny",
                            "principals: [!Exact cluster.local/ns/ns/sa/client], destinationPorts: [8080]"));
    check("a policy appears", [&](const Call& c) { return &c.from == &world.client && c.port == 8080; });
    const auto line = world.two.access_log().wait_for({{"direction", "inbound"}, {"error", policy_changed}});
    CHECK(line["src.identity"] == world.mesh.identity(world.client));
    eventually(5s, [&] { return world.two.access_log().since_mark().size() >= 20; });
    CHECK(world.two.access_log().since_mark().size() == 20);
    CHECK(world.two.metrics()["culvert_proxy_connections_closed_total{reason=\"policy_changed\"}"] >= 20);

    policies.publish(strict, "");
    check("a policy that nobody names", [](const Call&) { return false; });
    policies.publish(strict, "ns/strict", &world.far);
    check("the workload names it", [&](const Call& c) { return &c.from == &world.plain2; });
}

TEST_CASE("policy: a file with a policy that cannot be understood, or is not there, changes nothing" IPV4) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    Policies policies{world};
    policies.publish(policy("no-8080", "Global", "Deny", "destinationPorts: [8080]"));
    for (const std::string& bad : {policy("no-8080", "Global", "Deny", "destinationPorts: [http]"),
                                   policy("no-8080", "Global", "Deny", "sourceIps: [10.0.0.0/33]"),
                                   policy("no-8080", "Global", "Deny", "destinationPort: [1]")}) {
        CAPTURE(bad);
        world.two.configure(world.mesh.yaml(2) + "policies:\n" + bad);
        CHECK(world.two.says({"policies[0].rules[0][0][0]", "The last good configuration goes on"}));
        check_answer(world, world.client, world.far, 8080, denied + "ns/no-8080");
    }
    CHECK(world.two.metrics()["culvert_config_reloads_total{result=\"bad\"}"] >= 3);
}

}
