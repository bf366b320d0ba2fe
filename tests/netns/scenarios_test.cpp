// SPDX-License-Identifier: Apache-2.0
// ztunnel's own scenarios of authorization, under the names that they have there, with real pods and sockets.
//
//   plaintext_conn: plain2 calls far:8080        no identity
//   tls_conn:       client calls far:8080        cluster.local/ns/ns/sa/client
//   tls_conn_alt:   near calls client:9090       cluster.local/ns/alt/sa/alt, from another address to another place
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "policies.hpp"
#include "server.hpp"

using namespace culvert::test;

namespace {

const std::string yes = "yes";

// One lab for all of them; near lives in another namespace.
struct Scene {
    World& world = World::shared("scenarios", [](Mesh& mesh) {
        for (Workload& workload : mesh.workloads)
            if (workload.pod->name() == "near") workload.namespace_ = workload.service_account = "alt";
    });
    Server far{world.far.netns(), 8080, apps::echo};
    Server client{world.client.netns(), 9090, apps::echo};
    Policies policies{world};

    void plaintext_conn(const std::string& wanted) { check_answer(world, world.plain2, world.far, 8080, wanted); }
    void tls_conn(const std::string& wanted) { check_answer(world, world.client, world.far, 8080, wanted); }
    void tls_conn_alt(const std::string& wanted) { check_answer(world, world.near, world.client, 9090, wanted); }

    // An allow policy for everybody: what each of the three comes to under it.
    void allow(const std::string& rules, bool plaintext, bool tls, bool alt) {
        CAPTURE(rules);
        policies.publish(policy_line("p", "Global", "Allow", rules));
        plaintext_conn(plaintext ? yes : not_allowed);
        tls_conn(tls ? yes : not_allowed);
        tls_conn_alt(alt ? yes : not_allowed);
    }
    void allow_match(const std::string& match, bool plaintext, bool tls, bool alt) {
        allow("[[[{" + match + "}]]]", plaintext, tls, alt);
    }
};

}

TEST_SUITE("scenarios") {

TEST_CASE("test_policy: who is not the waypoint gets 401, and the log says that none allowed it" IPV4) {
    Scene scene;
    World& world = scene.world;
    // Its principal stands there with the scheme, which no principal has.
    scene.policies.publish(
        policy("deny_bypass", "Namespace", "Allow", "principals: [!Exact \"spiffe://cluster.local/ns/ns/sa/client\"]"));
    scene.tls_conn(not_allowed);
    world.mark();
    CHECK(fate(world.client.netns(), {.to = world.far.at(Family::v4, 8080)}) == "reset");
    world.one.access_log().wait_for({{"direction", "outbound"}, {"error", "http status: 401 Unauthorized"}});
    const auto line = world.two.access_log().wait_for({{"direction", "inbound"}, {"error", not_allowed}});
    CHECK(line["src.identity"] == world.mesh.identity(world.client));
}

TEST_CASE("rbac_empty_policy: no rules and an empty match allow nothing, an empty rule and an empty clause all" IPV4) {
    Scene scene;
    scene.allow("[[[{}]]]", false, false, false);
    scene.allow("[[[]]]", true, true, true);
    scene.allow("[]", false, false, false);
    scene.allow("[[]]", true, true, true);
}

TEST_CASE("rbac_nesting: either of two namespaces, and the port besides" IPV4) {
    Scene scene;
    scene.allow("[[[{namespaces: [!Exact a]}, {namespaces: [!Exact alt]}], [{destinationPorts: [9090]}]]]", false,
                false, true);
    scene.allow("[[[{namespaces: [!Exact ns]}, {namespaces: [!Exact alt]}], [{destinationPorts: [8080]}]]]", false,
                true, false);
}

TEST_CASE("rbac_multi_rule: one rule of several is enough" IPV4) {
    Scene scene;
    scene.allow("[[[{namespaces: [!Exact ns]}]], [[{namespaces: [!Exact b]}]]]", false, true, false);
    scene.allow("[[[{namespaces: [!Exact ns]}]], [[{namespaces: [!Exact alt]}]]]", false, true, true);
}

TEST_CASE("namespaces" IPV4) {
    Scene{}.allow_match("namespaces: [!Exact ns]", false, true, false);
}
TEST_CASE("not_namespaces" IPV4) {
    Scene{}.allow_match("notNamespaces: [!Exact ns]", true, false, true);
}
TEST_CASE("service_accounts" IPV4) {
    Scene{}.allow_match("serviceAccounts: [{namespace: ns, serviceAccount: client}]", false, true, false);
}
TEST_CASE("not_service_accounts" IPV4) {
    Scene{}.allow_match("notServiceAccounts: [{namespace: ns, serviceAccount: client}]", true, false, true);
}
TEST_CASE("principals" IPV4) {
    Scene{}.allow_match("principals: [!Exact cluster.local/ns/ns/sa/client]", false, true, false);
}
TEST_CASE("not_principals" IPV4) {
    Scene{}.allow_match("notPrincipals: [!Exact cluster.local/ns/ns/sa/client]", true, false, true);
}
TEST_CASE("source_ips" IPV4) {
    Scene{}.allow_match("sourceIps: [10.71.2.21/32, 10.71.1.10/32]", true, true, false);
}
TEST_CASE("not_source_ips" IPV4) {
    Scene{}.allow_match("notSourceIps: [10.71.2.21/32, 10.71.1.10/32]", false, false, true);
}
TEST_CASE("destination_ips" IPV4) {
    Scene{}.allow_match("destinationIps: [10.71.2.11/32]", true, true, false);
}
TEST_CASE("not_destination_ips" IPV4) {
    Scene{}.allow_match("notDestinationIps: [10.71.2.11/32]", false, false, true);
}
TEST_CASE("cidr_range: host bits mean nothing" IPV4) {
    Scene{}.allow_match("destinationIps: [10.71.2.200/24]", true, true, false);
}
TEST_CASE("destination_ports" IPV4) {
    Scene{}.allow_match("destinationPorts: [8080]", true, true, false);
}
TEST_CASE("not_destination_ports" IPV4) {
    Scene{}.allow_match("notDestinationPorts: [8080]", false, false, true);
}

TEST_CASE("string_match: whole, by the start, by the end, or anything at all" IPV4) {
    Scene scene;
    scene.allow_match("namespaces: [!Exact n]", false, false, false);
    scene.allow_match("namespaces: [!Prefix n]", false, true, false);
    scene.allow_match("namespaces: [!Suffix t]", false, false, true);
    scene.allow_match("namespaces: [!Presence []]", false, true, true);
}

TEST_CASE("rbac_change_scope: a namespace's policy that becomes a selector's is nobody's until it is named" IPV4) {
    Scene scene;
    scene.policies.publish(policy("test_policy", "Namespace", "Allow", "namespaces: [!Exact whatever]"));
    scene.tls_conn(not_allowed);
    const auto selecting = policy("test_policy", "WorkloadSelector", "Allow", "namespaces: [!Exact whatever]");
    scene.policies.publish(selecting);
    scene.tls_conn(yes);
    scene.policies.publish(selecting, "ns/test_policy", &scene.world.far);
    scene.tls_conn(not_allowed);
    scene.tls_conn_alt(yes);
}

TEST_CASE("assert_rbac_logic_deny_allow: deny, then no allow policy, then an allow that matches, then deny" IPV4) {
    Scene scene;
    World& world = scene.world;
    Server near{world.near.netns(), 7070, apps::echo};
    scene.policies.publish(policy_line("wildcard-allow", "Namespace", "Allow", "[[]]", true) +
                           policy_line("wildcard-deny", "Namespace", "Deny", "[[]]", true) +
                           policy("foo", "Namespace", "Allow", "principals: [!Exact cluster.local/ns/ns/sa/client]") +
                           policy("deny", "Namespace", "Deny", "principals: [!Exact cluster.local/ns/alt/sa/alt]"));
    scene.tls_conn(yes);
    scene.plaintext_conn(not_allowed);
    scene.tls_conn_alt(denied + "ns/deny");
    // Of another namespace, which has no policies.
    check_answer(world, world.client, world.near, 7070, yes);
    check_answer(world, world.plain2, world.near, 7070, yes);
}

TEST_CASE("assert_rbac_with_dest_workload_info: without policies everybody may, also when there were some" IPV4) {
    Scene scene;
    scene.tls_conn(yes);
    scene.policies.publish(policy_line("nobody", "Global", "Allow", "[]"));
    scene.tls_conn(not_allowed);
    scene.policies.publish("");
    scene.plaintext_conn(yes);
    scene.tls_conn(yes);
    scene.tls_conn_alt(yes);
}

TEST_CASE("assert_rbac_dry_run_with_real_policies: the rehearsed are told of, the real ones decide" IPV4) {
    Scene scene;
    World& world = scene.world;
    const std::string from_alt = "principals: [!Exact cluster.local/ns/alt/sa/alt]";
    const std::string from_client = "principals: [!Exact cluster.local/ns/ns/sa/client]";
    scene.policies.publish(
        policy("real-deny", "Namespace", "Deny", from_alt) +
        policy_line("dry-run-deny", "Namespace", "Deny", "[[[{" + from_client + "}]], [[{" + from_alt + "}]]]", true) +
        policy("real-allow", "Namespace", "Allow", from_client) +
        policy("dry-run-allow", "Namespace", "Allow", from_client, true));
    scene.tls_conn(yes);
    CHECK(world.two.says({"dry run: Deny by ns/dry-run-deny", "10.71.1.10"}));
    CHECK(world.two.says({"dry run: Allow by ns/dry-run-allow", "10.71.1.10"}));
    scene.tls_conn_alt(denied + "ns/real-deny");
    CHECK(world.one.says({"dry run: Deny by ns/dry-run-deny", "10.71.1.11"}));
    scene.policies.publish(policy("dry-run-allow", "Namespace", "Allow", from_client, true));
    scene.plaintext_conn(yes);
    CHECK(world.two.says({"dry run: allow policies exist, but none allowed", "10.71.2.21"}));
}

TEST_CASE("test_connection_manager_close: all connections of those that are refused now end, and no other" IPV4) {
    Scene scene;
    World& world = scene.world;
    std::vector<Connection> first, second;
    for (int i = 0; i < 2; ++i) first.push_back(world.client.dial(world.far.at(Family::v4, 8080)));
    second.push_back(world.plain2.dial(world.far.at(Family::v4, 8080)));
    for (auto* all : {&first, &second})
        for (Connection& each : *all) REQUIRE(each.echoes("hello"));
    scene.policies.publish(policy("no-client", "Global", "Deny", "sourceIps: [10.71.1.10]"));
    for (Connection& each : first) CHECK(each.ending(5s) == "reset");
    CHECK(second.front().echoes("still there"));
    scene.policies.publish(policy_line("nobody", "Global", "Deny", "[[]]"));
    CHECK(second.front().ending(5s) == "reset");
}

TEST_CASE("test_connection_manager_release: what ended by itself is closed by nobody" IPV4) {
    Scene scene;
    World& world = scene.world;
    world.mark();
    {
        Connection ends = world.client.dial(world.far.at(Family::v4, 8080));
        REQUIRE(ends.echoes("hello"));
        ends.end_sending();
        CHECK(ends.ending() == "end");
    }
    world.two.access_log().wait_for({{"direction", "inbound"}, {"error", ""}});
    Connection stays = world.client.dial(world.far.at(Family::v4, 8080));
    REQUIRE(stays.echoes("hello"));
    scene.policies.publish(policy_line("nobody", "Global", "Deny", "[[]]"));
    CHECK(stays.ending(5s) == "reset");
    world.two.access_log().wait_for({{"direction", "inbound"}, {"error", policy_changed}});
    CHECK(world.two.access_log().since_mark().size() == 2);
}

TEST_CASE("test_policy_watcher_lifecycle: a policy that denies everything ends what lives; of no rules, nothing" IPV4) {
    Scene scene;
    World& world = scene.world;
    Connection call = world.client.dial(world.far.at(Family::v4, 8080));
    REQUIRE(call.echoes("hello"));
    scene.policies.publish(policy_line("deny-nothing", "Global", "Deny", "[]"));
    scene.tls_conn(yes);
    CHECK(call.echoes("still there"));
    scene.policies.publish(policy_line("deny-all", "Global", "Deny", "[[]]"));
    CHECK(call.ending(1s) == "reset");
}

TEST_CASE("skipping unknown policy: one that is still to come is waited for, and never passed over" IPV4) {
    Scene scene;
    World& world = scene.world;
    scene.policies.unknown("deny");
    scene.policies.publish("", "ns/late", &world.far);
    // While it is waited for a call is neither refused nor let through.
    Connection early = world.client.dial(world.far.at(Family::v4, 8080));
    early.send("hello");
    scene.policies.publish(policy("late", "WorkloadSelector", "Allow", "principals: [!Suffix /client]"), "ns/late",
                           &world.far);
    CHECK(early.receive(5) == "hello");
    scene.plaintext_conn(not_allowed);
    scene.policies.publish("", "ns/later", &world.far);
    scene.tls_conn(denied + "ns/later");
    CHECK(world.two.says({"ns/later is named by a workload, and nobody has it: everything is refused"}));
    CHECK(early.ending(5s) == "reset");
    scene.policies.publish("", "ns/converted_peer_authentication_a", &world.far);
    scene.tls_conn(yes);
    scene.plaintext_conn(denied + "ns/converted_peer_authentication_a");
    scene.policies.unknown("allow");
    scene.policies.publish("", "ns/later", &world.far);
    scene.plaintext_conn(yes);
}

}
