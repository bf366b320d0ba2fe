// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <culvert/control/changes.hpp>
#include <culvert/control/config.hpp>

using namespace culvert;
using namespace culvert::control;
using namespace culvert::policy;

namespace {

const std::string file = R"(node: {name: n}
workloads:
- {uid: w, namespace: a, workloadIps: [10.0.0.1], authorizationPolicies: [a/full]}
policies:
- {name: empty, namespace: b, scope: Namespace, action: Allow, rules: [], dryRun: true}
- name: full
  namespace: a
  scope: WorkloadSelector
  action: Deny
  dryRun: false
  rules:
  - - - namespaces: [!Exact a, !Prefix b, !Suffix c, !Presence [], !Presence ]
        notNamespaces: [{Exact: a}, {Prefix: b}, {Suffix: c}, {Presence: []}, {Presence: null}]
        principals: [!Exact d]
        notPrincipals: [!Exact e]
        serviceAccounts: [{namespace: f, serviceAccount: g}]
        notServiceAccounts: [{namespace: h, serviceAccount: i}]
        sourceIps: [10.0.0.0/8]
        notSourceIps: [fd00::/8]
        destinationIps: [10.0.0.1]
        notDestinationIps: [10.0.0.2/32]
        destinationPorts: [80]
        notDestinationPorts: [443, 444]
      - {}
    - []
  - []
)";

}

TEST_SUITE("control") {

TEST_CASE("policies: every key lands where it belongs") {
    auto loaded = parse_config(file, "f.yaml");
    REQUIRE_MESSAGE(loaded.has_value(), loaded.error().to_string());
    REQUIRE(loaded->policies.size() == 2);
    CHECK(loaded->policies[0] == Policy{"empty", "b", Scope::of_namespace, Action::allow, {}, true});
    using enum Form;
    Match full;
    full.namespaces =
        full.not_namespaces = {{exact, "a"}, {prefix, "b"}, {suffix, "c"}, {presence, ""}, {presence, ""}};
    full.principals = {{exact, "d"}};
    full.not_principals = {{exact, "e"}};
    full.service_accounts = {{"f", "g"}};
    full.not_service_accounts = {{"h", "i"}};
    full.source_ips = {*state::Cidr::parse("10.0.0.0/8")};
    full.not_source_ips = {*state::Cidr::parse("fd00::/8")};
    full.destination_ips = {*state::Cidr::parse("10.0.0.1/32")};
    full.not_destination_ips = {*state::Cidr::parse("10.0.0.2/32")};
    full.destination_ports = {80};
    full.not_destination_ports = {443, 444};
    const std::vector<Rule> rules{{{full, Match{}}, {}}, {}};
    CHECK(loaded->policies[1] == Policy{"full", "a", Scope::of_workloads, Action::deny, rules, false});
    CHECK(loaded->workloads[0].authorization_policies == std::vector<std::string>{"a/full"});
}

TEST_CASE("policies: a change of one is a change of the mesh") {
    auto old = parse_config(file, "f.yaml");
    REQUIRE(old.has_value());
    auto fresh = *old;
    CHECK_FALSE(diff(*old, fresh).mesh);
    fresh.policies[1].rules[0][0][0].destination_ports = {81};
    CHECK(diff(*old, fresh).mesh);
    fresh = *old;
    fresh.unknown_policy = Unknown::allow;
    CHECK(diff(*old, fresh).mesh);
}

TEST_CASE("policies: one that is named and not there is refused, unless the file says what it comes to") {
    const std::string named =
        "node: {name: n}\nworkloads:\n- {uid: w, namespace: a, workloadIps: [10.0.0.1], "
        "authorizationPolicies: [a/nobody]}\n";
    CHECK_FALSE(parse_config(named, "f.yaml").has_value());
    for (const Unknown unknown : {Unknown::deny, Unknown::allow}) {
        auto loaded = parse_config(named + "unknownPolicy: " + std::string{to_string(unknown)} + "\n", "f.yaml");
        REQUIRE_MESSAGE(loaded.has_value(), loaded.error().to_string());
        CHECK(loaded->unknown_policy == unknown);
    }
    CHECK_FALSE(parse_config(named + "unknownPolicy: skip\n", "f.yaml").has_value());
}

}
