// SPDX-License-Identifier: Apache-2.0
// A small mesh to ask about.
#pragma once
#include <culvert/explain/explain.hpp>

#include <boost/json.hpp>

#include <doctest/doctest.h>

#include "state/world.hpp"

namespace culvert {

namespace json = boost::json;

inline policy::Policy make(policy::Action action, policy::Match match, policy::Scope scope = policy::Scope::global) {
    policy::Match never;
    never.destination_ports = {1};
    return {.name = "p", .namespace_ = "bench", .scope = scope, .action = action, .rules = {{{never}}, {{match}}}};
}
inline policy::Match port(std::uint16_t number) {
    policy::Match match;
    match.destination_ports = {number};
    return match;
}
inline policy::Match plaintext() {
    policy::Match match;
    match.not_principals = {{policy::Form::presence, ""}};
    return match;
}

// shop calls; near is of this node, far is not, plain is not enrolled; the service stands for near and far.
struct Scene {
    explicit Scene(std::vector<policy::Policy> policies = {}, std::vector<std::string> named = {},
                   policy::Unknown unknown = policy::Unknown::deny)
        : Scene{workloads(std::move(named)), {api()}, policies, unknown} {}
    Scene(std::vector<state::Workload> workloads, std::vector<state::Service> services,
          std::vector<policy::Policy> policies = {}, policy::Unknown unknown = policy::Unknown::deny,
          const policy::Names& awaited = {})
        : mesh{std::move(workloads), std::move(services)}, set{mesh, policies, ledger, unknown, awaited} {
        for (const char* name : {"shop", "near"}) pod(name).name = std::string{"bench/"} + name;
    }
    explain::PodHere& pod(const std::string& name) { return node.pods["Kubernetes//Pod/bench/" + name]; }
    static state::Service api() { return state::service("api", {state::at("10.96.0.1")}); }
    static std::vector<state::Workload> workloads(std::vector<std::string> named) {
        auto near = state::serving(state::pod("near", {"10.0.0.2"}), api());
        near.authorization_policies = std::move(named);
        return {state::pod("shop", {"10.0.0.1"}), near,
                state::serving(state::with(state::pod("far", {"10.0.0.3"}), [](auto& w) { w.node = "two"; }), api()),
                state::pod("plain", {"10.0.0.4"}, state::Protocol::tcp)};
    }
    json::value ask(const std::string& from, const std::string& to, std::uint16_t port) const {
        auto told = explain::explain(node, {from, to, port});
        REQUIRE_MESSAGE(told.has_value(), told.error().to_string());
        return *told;
    }
    json::value endpoint(const std::string& from, const std::string& to, std::uint16_t port) const {
        auto told = ask(from, to, port);
        REQUIRE(told.at("endpoints").as_array().size() == 1);
        return told.at("endpoints").as_array()[0];
    }

    policy::Ledger ledger{1};
    state::Snapshot mesh;
    policy::Set set;
    explain::Node node{.mesh = mesh, .policies = set, .name = "one", .network = ""};
};

inline std::string text(const json::value& value) {
    return value.is_string() ? std::string{value.as_string().data(), value.as_string().size()} : "";
}

}
