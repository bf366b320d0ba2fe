// SPDX-License-Identifier: Apache-2.0
// What people are told of policies.
#include <culvert/policy/words.hpp>

#include <doctest/doctest.h>

using namespace culvert;
using namespace culvert::policy;

namespace {

state::Workload workload(const std::string& uid, const std::string& in, std::vector<std::string> named = {}) {
    state::Workload made;
    made.uid = made.name = uid;
    made.namespace_ = in;
    made.authorization_policies = std::move(named);
    return made;
}

Policy make(const std::string& name, Scope scope) {
    Match match;
    match.destination_ports = {80};
    return {.name = name, .namespace_ = "a", .scope = scope, .action = Action::deny, .rules = {{{match}}}};
}

}

TEST_SUITE("policy") {

TEST_CASE("subjects: every workload counts once for each policy, however it comes to it") {
    std::vector<state::Workload> all{workload("one", "a", {"a/named", "a/namespace"}), workload("two", "a"),
                                     workload("three", "b", {"a/named"})};
    for (int i = 0; i < 20; ++i) all.push_back(workload("more" + std::to_string(i), "b"));
    const state::Snapshot mesh{all, {}};
    Ledger ledger{1};
    const Set set{mesh,
                  {make("global", Scope::global), make("namespace", Scope::of_namespace),
                   make("named", Scope::of_workloads), make("nobody", Scope::of_workloads)},
                  ledger,
                  Unknown::deny};
    const auto subjects = set.subjects(mesh);
    auto of = [&](std::size_t i) {
        auto found = subjects.find(set.policies()[i].get());
        return found == subjects.end() ? Subjects{} : found->second;
    };
    CHECK(of(0).count == 23);
    CHECK(of(0).first.size() == Subjects::few);
    CHECK(of(1).count == 2);
    CHECK(of(2).count == 2);
    CHECK(of(2).first.size() == 2);
    CHECK(of(3).count == 0);
}

TEST_CASE("words: a rule reads as the file has it, and long lists are cut") {
    Match first, second;
    first.principals = {{Form::exact, "td/ns/a/sa/b"}, {Form::presence, ""}};
    first.not_source_ips = {*state::Cidr::parse("10.0.0.0/8")};
    second.service_accounts = {{"a", "b"}};
    for (std::uint16_t port = 1; port <= 10; ++port) second.destination_ports.push_back(port);
    CHECK(to_string(Rule{}) == "everything");
    CHECK(to_string(Rule{{}}) == "everything");
    CHECK(to_string(Rule{{Match{}}}) == "nothing");
    CHECK(to_string(Rule{{first}}) == "principals: [!Exact td/ns/a/sa/b, !Presence []], notSourceIps: [10.0.0.0/8]");
    CHECK(to_string(Rule{{second, first}, {first}})
              .starts_with("(serviceAccounts: [{namespace: a, serviceAccount: b}], destinationPorts: [1, 2, 3, 4, 5, "
                           "6, 7, 8, and 2 "
                           "more], or principals: ["));
}

}
