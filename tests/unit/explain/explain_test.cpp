// SPDX-License-Identifier: Apache-2.0
#include "scene.hpp"

using namespace culvert;

TEST_SUITE("explain") {

TEST_CASE("explain: a pod is reached by HBONE, with the identity that it must prove") {
    Scene scene;
    auto told = scene.ask("shop", "near", 8080);
    CHECK(told.at("captured").as_bool());
    CHECK(text(told.at("source").at("identity")) == "spiffe://cluster.local/ns/bench/sa/shop");
    auto end = scene.endpoint("shop", "near", 8080);
    CHECK(text(end.at("path")) == "HBONE");
    CHECK(text(end.at("next_hop")) == "10.0.0.2:15008");
    CHECK(text(end.at("address")) == "10.0.0.2:8080");
    CHECK(text(end.at("must_be").at(0)) == "spiffe://cluster.local/ns/bench/sa/near");
    CHECK(text(end.at("decided_by")) == "this node");
    CHECK(text(end.at("why")) == "no policy applies to it");
    CHECK(told.at("allowed").as_bool());
}

TEST_CASE("explain: a service leads to each endpoint that may be chosen, and one that refuses is enough for a no") {
    Scene scene{{make(policy::Action::deny, port(8080), policy::Scope::of_workloads)}, {"bench/p"}};
    auto told = scene.ask("shop", "api", 80);
    REQUIRE(told.at("endpoints").as_array().size() == 2);
    CHECK_FALSE(told.at("allowed").as_bool());
    for (const auto& end : told.at("endpoints").as_array()) {
        const bool near = text(end.at("pod")) == "bench/near";
        CHECK(end.at("allowed").as_bool() == !near);
        CHECK(text(end.at("decided_by")) == (near ? "this node" : "its own node"));
        CHECK(end.at("here").as_bool() == near);
    }
    CHECK(text(scene.ask("shop", "api", 81).at("error")) == "no healthy upstream: 10.96.0.1:81");
    CHECK_FALSE(scene.ask("shop", "api", 81).at("allowed").as_bool());
}

TEST_CASE("explain: the rule that decides is named, and so is what is missing") {
    struct Row {
        policy::Action action;
        policy::Match match;
        bool allowed;
        std::string why;
    };
    for (const Row& row :
         {Row{policy::Action::deny, port(8080), false, "denied by bench/p, rules[1]: destinationPorts: [8080]"},
          Row{policy::Action::deny, port(9), true, "none of these denies it: bench/p"},
          Row{policy::Action::allow, port(8080), true, "allowed by bench/p, rules[1]: destinationPorts: [8080]"},
          Row{policy::Action::allow, port(9), false, "allow policies exist, but none allowed: bench/p"}}) {
        CAPTURE(row.why);
        Scene scene{{make(row.action, row.match)}};
        auto end = scene.endpoint("shop", "near", 8080);
        CHECK(end.at("allowed").as_bool() == row.allowed);
        CHECK(text(end.at("why")) == row.why);
        CHECK(scene.set.policies()[0]->hits->sum() == 0);
    }
}

TEST_CASE("explain: who is not captured comes in plaintext, and is judged so") {
    Scene scene{{make(policy::Action::deny, plaintext())}};
    CHECK(scene.endpoint("shop", "near", 8080).at("allowed").as_bool());
    scene.pod("shop").exclude.outbound_ports = {8080};
    for (const char* from : {"shop", "plain", "192.0.2.1"}) {
        CAPTURE(from);
        auto told = scene.ask(from, "near", 8080);
        CHECK_FALSE(told.at("captured").as_bool());
        auto end = scene.endpoint(from, "near", 8080);
        CHECK(text(end.at("path")) == "plaintext");
        CHECK_FALSE(end.at("allowed").as_bool());
        CHECK(text(end.at("why")) == "denied by bench/p, rules[1]: notPrincipals: [!Presence []]");
    }
    CHECK(text(scene.ask("shop", "near", 8080).at("why")) == "outbound port 8080 bypasses the mesh");
    scene.pod("near").exclude.inbound_ports = {8080};
    auto end = scene.endpoint("plain", "near", 8080);
    CHECK(text(end.at("decided_by")) == "nobody");
    CHECK(text(end.at("why")) == "inbound port 8080 bypasses the mesh");
    CHECK(scene.ask("plain", "api", 80).at("allowed").is_null());
}

TEST_CASE("explain: a policy that nobody has refuses, or is ignored and named") {
    Scene refuses{{}, {"bench/lost"}};
    auto end = refuses.endpoint("shop", "near", 8080);
    CHECK_FALSE(end.at("allowed").as_bool());
    CHECK(text(end.at("why")) == "denied by bench/lost, which a workload names and nobody has");
    Scene ignores{{}, {"bench/lost"}, policy::Unknown::allow};
    end = ignores.endpoint("shop", "near", 8080);
    CHECK(end.at("allowed").as_bool());
    CHECK(text(end.at("unknown_policies").at(0)) == "bench/lost");
}

TEST_CASE("explain: before a pod that is not enrolled nobody stands, and a dry run is said to be one") {
    auto dry = make(policy::Action::deny, port(8080));
    dry.dry_run = true;
    Scene scene{{dry}};
    auto end = scene.endpoint("shop", "near", 8080);
    CHECK(end.at("allowed").as_bool());
    CHECK(text(end.at("dry_runs").at(0).at("policy")) == "bench/p");
    CHECK(text(scene.endpoint("shop", "plain", 8080).at("decided_by")) == "nobody");
    dry.action = policy::Action::allow;
    Scene rehearsed{{dry}};
    CHECK(rehearsed.endpoint("shop", "near", 8080).at("notes").as_array().empty());
    CHECK(text(rehearsed.endpoint("shop", "near", 8081).at("notes").at(0)) ==
          "dry run: allow policies exist, and none of them would allow it");
}

}
