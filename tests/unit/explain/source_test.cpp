// SPDX-License-Identifier: Apache-2.0
// Who takes a call, and where it leads.
#include "scene.hpp"

using namespace culvert;
using Is = explain::PodHere::Is;

namespace {

bool not_known(const json::value& told, const char* flag) {
    return told.at(flag).is_null();
}

// Another workload instead of one of the scene's.
Scene with(state::Workload workload, std::vector<state::Service> services = {Scene::api()}) {
    auto all = Scene::workloads({});
    std::erase_if(all, [&](const auto& one) { return one.uid == workload.uid; });
    all.push_back(std::move(workload));
    return {std::move(all), std::move(services)};
}

}

TEST_SUITE("explain") {

TEST_CASE("explain: what stays in the pod meets no policy, whatever it is") {
    Scene scene{{make(policy::Action::deny, plaintext())}};
    for (const char* to : {"10.0.0.1", "127.0.0.1"}) {
        CAPTURE(to);
        auto told = scene.ask("shop", to, 8080);
        CHECK_FALSE(told.at("captured").as_bool());
        CHECK(told.at("allowed").as_bool());
        CHECK(text(told.at("endpoints").at(0).at("why")) == "no proxy stands between a pod and itself");
    }
}

TEST_CASE("explain: a pod that is not in the mesh now passes it by, is closed, or nobody can say") {
    struct Row {
        Is is;
        bool by_rules;
        const char *captured, *allowed;  // as JSON
        std::string says;
    };
    Scene scene;
    for (const Row& row :
         {Row{Is::leaving, false, "false", "true", "the pod is X"},
          Row{Is::leaving, true, "true", "false", "the pod is X: nobody is where those rules lead"},
          Row{Is::closed, false, "true", "false", "the pod is X, to join again: until then it is refused"},
          Row{Is::waiting, false, "null", "null",
              "the pod is X: closed, if an earlier daemon or istio-cni's rules have closed it; else its calls pass the "
              "mesh by"}}) {
        CAPTURE(row.says);
        scene.pod("shop") = {.is = row.is, .state = "X", .by_rules = row.by_rules};
        auto told = scene.ask("shop", "plain", 8080);
        CHECK(json::serialize(told.at("captured")) == row.captured);
        CHECK(json::serialize(told.at("allowed")) == row.allowed);
        CHECK((text(told.at("why")) == row.says || text(told.at("error")) == row.says));
    }
}

TEST_CASE("explain: a workload of this node without a pod here is nobody's to tell of") {
    auto scene = with(state::with(state::pod("far", {"10.0.0.3"}), [](auto& w) { w.node = "one"; }));
    CHECK(not_known(scene.ask("far", "near", 8080), "captured"));
    auto end = scene.endpoint("shop", "far", 8080);
    CHECK_FALSE(end.at("allowed").as_bool());
    CHECK(text(end.at("why")) == "nobody takes tunnels to it: it is a workload of this node, and no pod of it is here");
    CHECK(not_known(scene.endpoint("plain", "far", 8080), "allowed"));
}

TEST_CASE("explain: questions to nameservers are answered here, by rules before an exclusion is looked at") {
    Scene scene;
    auto& shop = scene.pod("shop");
    auto answered = [&](const char* to) { return text(scene.ask("shop", to, 53).at("answered")); };
    CHECK(answered("192.0.2.1") == "");
    shop.dns = true;
    CHECK(answered("192.0.2.1") == "this node's DNS server");
    CHECK(answered("10.0.0.1") == "");  // its own server
    shop.by_rules = true;
    CHECK(answered("10.0.0.1") == "this node's DNS server, where istio-cni has written rules for DNS");
    shop.exclude.outbound_ports = {53};
    CHECK(answered("192.0.2.1") == "");
    scene.node.by_iptables = true;
    shop.by_rules = false;
    CHECK(answered("192.0.2.1") == "this node's DNS server");
    CHECK(answered("127.0.0.1") == "");
}

TEST_CASE("explain: without IPv6 a pod's is refused, but what it excludes, and IPv4 goes first") {
    auto dual = [](const char* name, std::vector<std::string_view> ips) { return state::pod(name, std::move(ips)); };
    Scene scene{{dual("shop", {"fd00::1", "10.0.0.1"}), dual("near", {"fd00::2", "10.0.0.2"})}, {}};
    CHECK(text(scene.ask("shop", "near", 80).at("destination").at("address")) == "[fd00::2]:80");
    scene.node.ipv6 = false;
    CHECK(scene.ask("shop", "near", 80).at("allowed").as_bool());
    auto told = scene.ask("shop", "fd00::2", 80);
    CHECK_FALSE(told.at("allowed").as_bool());
    CHECK(text(told.at("error")) == "IPv6 is switched off on this node: that of its pods is refused");
    auto end = scene.endpoint("fd00::9", "fd00::2", 80);
    CHECK_FALSE(end.at("allowed").as_bool());
    scene.pod("shop").exclude.outbound_ports = {80};
    CHECK_FALSE(scene.ask("shop", "fd00::2", 80).at("captured").as_bool());
}

TEST_CASE("explain: a daemon that ends refuses what is new") {
    Scene scene;
    scene.node.ending = true;
    auto told = scene.ask("shop", "plain", 80);
    CHECK_FALSE(told.at("allowed").as_bool());
    CHECK(text(told.at("error")).starts_with("this daemon is ending"));
    CHECK_FALSE(scene.ask("plain", "near", 80).at("allowed").as_bool());
    CHECK(scene.ask("plain", "192.0.2.1", 80).at("allowed").as_bool());
}

TEST_CASE("explain: on demand nobody is a stranger before istiod has said so") {
    Scene scene;
    CHECK(scene.ask("shop", "192.0.2.1", 80).at("allowed").as_bool());
    scene.node.on_demand = true;
    auto told = scene.ask("shop", "192.0.2.1", 80);
    CHECK(told.at("captured").as_bool());
    CHECK(not_known(told, "allowed"));
    CHECK(told.at("endpoints").as_array().empty());
    CHECK(text(told.at("unknown")) ==
          "istiod has not told who is at /192.0.2.1 (XDS_ON_DEMAND): a call asks, waits for the answer five seconds at "
          "most, and fails without");
    CHECK(text(scene.ask("far", "192.0.2.1", 80).at("unknown")) ==
          "istiod has not told who is at /192.0.2.1 (XDS_ON_DEMAND)");
    CHECK(text(scene.ask("plain", "192.0.2.1", 80).at("unknown")) != "");
    CHECK(scene.ask("shop", "near", 80).at("allowed").as_bool());
    CHECK(scene.ask("shop", "api", 80).at("allowed").as_bool());
    auto by_whom = scene.ask("192.0.2.1", "near", 80);
    CHECK(not_known(by_whom, "captured"));
    CHECK(not_known(by_whom, "allowed"));
    auto nobody = explain::explain(scene.node, {"shop", "nobody", 80});
    REQUIRE(nobody.has_error());
    CHECK(nobody.error().to_string().ends_with("istiod tells of addresses on demand only (XDS_ON_DEMAND)"));
}

TEST_CASE("explain: where a service's own address is what is called, others choose, and that is no no") {
    auto passed = state::with(Scene::api(), [](auto& s) { s.load_balancer.mode = state::BalanceMode::passthrough; });
    Scene scene{Scene::workloads({}), {passed}};
    for (const char* from : {"shop", "plain"}) {
        CAPTURE(from);
        auto told = scene.ask(from, "api", 80);
        CHECK(told.at("captured").as_bool() == (from == std::string{"shop"}));
        CHECK(not_known(told, "allowed"));
        CHECK(told.at("error").is_null());
        CHECK(text(told.at("unknown")).ends_with("kube-proxy, or what there is in its place, chooses who gets it"));
    }
}

TEST_CASE("explain: of networks behind gateways it says that there is no way yet") {
    auto other =
        state::with(state::serving(state::pod("far", {"10.0.0.3"}), Scene::api()), [](auto& w) { w.network = "two"; });
    auto near = state::pod("near", {"10.0.0.2"});
    Scene scene{{state::pod("shop", {"10.0.0.1"}), near, other}, {Scene::api()}};
    CHECK(text(scene.ask("shop", "api", 80).at("error")) ==
          "no healthy upstream: 10.96.0.1:80 (1 of its endpoints is in another network, and gateways are not supported "
          "yet)");
    for (auto [from, to] : {std::pair{"shop", "far"}, {"far", "shop"}}) {
        auto told = explain::explain(scene.node, {from, to, 80});
        REQUIRE(told.has_error());
        CHECK(told.error().to_string() ==
              "far is in network \"two\", and this node in \"\": from one to the other leads no way yet, gateways are "
              "not "
              "supported");
    }
}

TEST_CASE("explain: a pod here whose workload nobody has told of is not a stranger, and not to be told of") {
    Scene scene;
    scene.pod("new").name = "bench/new";
    auto told = explain::explain(scene.node, {"new", "near", 80});
    REQUIRE(told.has_error());
    CHECK(told.error().to_string() ==
          "bench/new is a pod of this node, and the mesh does not know its workload: its connections wait five seconds "
          "for that, and fail");
}

}
