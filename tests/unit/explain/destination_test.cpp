// SPDX-License-Identifier: Apache-2.0
// Who lets a call in.
#include "scene.hpp"

using namespace culvert;
using Is = explain::PodHere::Is;

namespace {

bool has_note(const json::value& endpoint, std::string_view part) {
    for (const auto& note : endpoint.at("notes").as_array())
        if (text(note).find(part) != std::string::npos) return true;
    return false;
}

// The daemon's own, another node's proxy, and who calls them.
Scene proxies() {
    auto proxy = [](const char* name, std::string_view ip, const char* node) {
        return state::with(state::pod(name, {ip}), [&](auto& w) {
            w.service_account = "ztunnel";
            w.node = node;
        });
    };
    auto all = Scene::workloads({});
    all.push_back(proxy("ztunnel-1", "10.0.1.1", "one"));
    all.push_back(proxy("ztunnel-2", "10.0.2.1", "two"));
    return {std::move(all), {Scene::api()}, {make(policy::Action::deny, plaintext())}};
}

}

TEST_SUITE("explain") {

TEST_CASE("explain: what istio-cni's rules bring is judged, also to a port that is excluded in vain") {
    Scene scene{{make(policy::Action::deny, plaintext())}};
    auto& near = scene.pod("near");
    near.exclude.inbound_ports = {8080};
    CHECK(text(scene.endpoint("plain", "near", 8080).at("decided_by")) == "nobody");
    near.by_rules = true;
    auto end = scene.endpoint("plain", "near", 8080);
    CHECK_FALSE(end.at("allowed").as_bool());
    CHECK(has_note(end, "inbound port 8080 is excluded in vain: istio-cni's rules in the pod bring it to the proxy"));
    CHECK(has_note(scene.endpoint("plain", "near", 8081), "what they let past meets no policy"));
    CHECK_FALSE(has_note(scene.endpoint("shop", "near", 8080), "rules"));
    CHECK(scene.endpoint("shop", "near", 8080).at("allowed").as_bool());
}

TEST_CASE("explain: the node's own processes are let through, and nobody else") {
    Scene scene{{make(policy::Action::deny, plaintext())}};
    auto note = [&] { return has_note(scene.endpoint("192.0.2.1", "near", 80), "of a process of this node itself"); };
    CHECK(note());
    CHECK_FALSE(has_note(scene.endpoint("plain", "near", 80), "of a process"));
    scene.node.ips = {{state::ip("192.0.2.9")}};
    CHECK_FALSE(note());
    CHECK_FALSE(scene.endpoint("192.0.2.1", "near", 80).at("allowed").as_bool());
    auto end = scene.endpoint("192.0.2.9", "near", 80);
    CHECK(end.at("allowed").as_bool());
    CHECK(text(end.at("why")) == "a process of this node calls, as the kubelet's probes do");
    CHECK(text(scene.endpoint("192.0.2.9", "far", 80).at("decided_by")) == "its own node");
}

TEST_CASE("explain: a pod that is not in the mesh now takes no tunnels, and plaintext as it is closed or not") {
    struct Row {
        Is is;
        bool by_rules;
        const char* allowed;  // of plaintext, as JSON
        std::string says;
    };
    Scene scene{{make(policy::Action::deny, plaintext())}};
    for (const Row& row : {Row{Is::leaving, false, "true", "its pod is X, so no proxy stands before it now"},
                           Row{Is::leaving, true, "false", "its pod is X: nobody is where istio-cni's rules lead"},
                           Row{Is::closed, false, "false", "its pod is X, to join again: until then it is closed"},
                           Row{Is::waiting, false, "null",
                               "its pod is X: closed, if an earlier daemon or istio-cni's rules have closed it"}}) {
        CAPTURE(row.says);
        scene.pod("near") = {.is = row.is, .state = "X", .by_rules = row.by_rules};
        auto told = scene.ask("plain", "near", 8080);
        CHECK(json::serialize(told.at("allowed")) == row.allowed);
        CHECK(text(told.at("endpoints").at(0).at("why")) == row.says);
        auto tunnel = scene.endpoint("shop", "near", 8080);
        CHECK_FALSE(tunnel.at("allowed").as_bool());
        CHECK(text(tunnel.at("why")) == "nobody takes tunnels to it: its pod is X");
    }
}

TEST_CASE("explain: to the daemon's own pod tunnels lead to one port, and all else goes as it is") {
    Scene scene = proxies();
    const std::string own = "Kubernetes//Pod/bench/ztunnel-1";
    scene.node.own = {.uid = own, .port = 15020};
    auto end = scene.endpoint("shop", own, 15020);
    CHECK(end.at("allowed").as_bool());
    CHECK(end.at("here").as_bool());
    CHECK(text(end.at("decided_by")) == "this node");
    CHECK(text(scene.endpoint("shop", own, 15000).at("why")) ==
          "tunnels to a node proxy of ours lead to port 15020 alone: attempted recursive call to ourselves");
    CHECK_FALSE(scene.endpoint("shop", own, 15000).at("allowed").as_bool());
    CHECK(scene.endpoint("plain", own, 15000).at("allowed").as_bool());
    CHECK_FALSE(scene.endpoint("plain", own, 15008).at("allowed").as_bool());

    auto told = scene.ask(own, "near", 8080);
    CHECK_FALSE(told.at("captured").as_bool());
    CHECK(text(told.at("source").at("state")) == "the daemon's own pod");
    CHECK_FALSE(told.at("allowed").as_bool());  // in plaintext
    CHECK_FALSE(scene.ask("ztunnel-2", "near", 8080).at("captured").as_bool());
    CHECK(text(scene.endpoint("shop", "ztunnel-2", 15020).at("decided_by")) == "its own node");
    CHECK(scene.endpoint("shop", "ztunnel-2", 15000).at("allowed").is_null());

    scene.node.own->closed = "the port is taken";
    end = scene.endpoint("shop", own, 15020);
    CHECK_FALSE(end.at("allowed").as_bool());
    CHECK(text(end.at("why")) == "nobody takes tunnels to it: the port is taken");
}

TEST_CASE("explain: a port of the mesh's own takes nobody's calls") {
    Scene scene;
    CHECK(text(scene.endpoint("shop", "near", 15008).at("why")) ==
          "it is a port of the mesh's own: attempted recursive call to ourselves");
    CHECK(text(scene.endpoint("plain", "near", 15008).at("why")) == "tunnels end there: it takes no plaintext");
    CHECK_FALSE(scene.endpoint("plain", "near", 15006).at("allowed").as_bool());
    auto far = scene.endpoint("shop", "far", 15001);
    CHECK_FALSE(far.at("allowed").as_bool());
    CHECK(text(far.at("decided_by")) == "its own node");
}

TEST_CASE("explain: policies see the address that the tunnel comes from, in the endpoint's IP version") {
    auto from_six = policy::Match{};
    from_six.source_ips = {state::Cidr{state::ip("fd00::1"), 128}};
    auto near = state::serving(state::pod("near", {"fd00::2"}), Scene::api());
    for (const bool dual : {true, false}) {
        auto shop = dual ? state::pod("shop", {"10.0.0.1", "fd00::1"}) : state::pod("shop", {"10.0.0.1"});
        Scene scene{{shop, near}, {Scene::api()}, {make(policy::Action::deny, from_six)}};
        auto end = scene.endpoint("shop", "api", 80);
        CHECK(text(end.at("next_hop")) == "[fd00::2]:15008");
        CHECK_FALSE(end.at("allowed").as_bool());
        CHECK(text(end.at("why")).starts_with(dual ? "denied by bench/p" : "the source has no address of that IP"));
    }
}

TEST_CASE("explain: a node's address is passed by, whoever has it") {
    auto all = Scene::workloads({});
    all.push_back(state::with(state::pod("daemon", {"192.0.2.9"}, state::Protocol::tcp),
                              [](auto& w) { w.network_mode = state::NetworkMode::host_network; }));
    Scene scene{std::move(all), {}};
    auto end = scene.endpoint("shop", "daemon", 80);
    CHECK(text(end.at("path")) == "plaintext");
    CHECK(text(end.at("why")) == "it has its node's address, and calls to those pass the mesh by");
}

TEST_CASE("explain: a policy that is still to come is no refusal yet, and a certificate is waited for") {
    Scene scene{Scene::workloads({"bench/lost"}), {Scene::api()}, {}, policy::Unknown::deny, {"bench/lost"}};
    scene.pod("shop").certified = scene.pod("near").certified = false;
    auto told = scene.ask("shop", "near", 8080);
    CHECK(told.at("allowed").is_null());
    const auto& end = told.at("endpoints").at(0);
    CHECK(text(end.at("why")) == "waits for bench/lost, which a workload names and is to come yet");
    CHECK(has_note(end, "the source has no certificate yet"));
    CHECK(has_note(end, "the destination has no certificate yet"));
}

}
