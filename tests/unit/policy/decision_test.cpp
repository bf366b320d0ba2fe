// SPDX-License-Identifier: Apache-2.0
// What ztunnel decides, scenario by scenario (reference: its rules of authorization).
#include <doctest/doctest.h>

#include <culvert/policy/set.hpp>

using namespace culvert;
using namespace culvert::policy;

namespace {

const state::Identity client{"td", "from", "account"};
const state::Identity stranger{"td", "elsewhere", "other"};
const base::IpAddress client_ip = *base::IpAddress::parse("127.0.0.1");
const base::SocketAddress server = *base::SocketAddress::parse("127.0.0.2:8080");

const Connection from_client{client_ip, server, &client};
const Connection from_stranger{client_ip, server, &stranger};
const Connection plaintext{client_ip, server, nullptr};

Policy make(Action action, std::vector<Rule> rules, Scope scope = Scope::of_namespace) {
    return {.name = "p", .namespace_ = "ns", .scope = scope, .action = action, .rules = std::move(rules)};
}
Policy allow(Match match) {
    return make(Action::allow, {{{std::move(match)}}});
}
Policy deny(Match match) {
    return make(Action::deny, {{{std::move(match)}}});
}
StringMatch exact(std::string text) {
    return {Form::exact, std::move(text)};
}

// One workload, ns/w, and what it is subject to.
struct Scene {
    explicit Scene(std::vector<Policy> all, std::vector<std::string> named = {}, Unknown unknown = Unknown::deny)
        : set{mesh(std::move(named)), all, ledger, unknown} {}
    static state::Snapshot mesh(std::vector<std::string> named) {
        state::Workload w;
        w.uid = "w";
        w.namespace_ = "ns";
        w.authorization_policies = std::move(named);
        return state::Snapshot{{w}, {}};
    }
    Decision ask(const Connection& connection) const {
        const Compiled* compiled = set.of("w");
        return compiled ? decide(*compiled, connection) : Decision{};
    }
    bool allows(const Connection& connection) const { return ask(connection).allowed(); }

    Ledger ledger{1};
    Set set;
};

state::Cidr range(const char* text) {
    return *state::Cidr::parse(text);
}

}

TEST_CASE("decision: without policies everything is allowed, and no policy says so") {
    const Scene nothing{{}};
    CHECK(nothing.set.of("w") == nullptr);
    const auto decision = nothing.ask(plaintext);
    CHECK(decision.allowed());
    CHECK(decision.by == nullptr);
}

TEST_CASE("decision: an empty allow policy denies all, an empty deny policy denies nothing") {
    CHECK_FALSE(Scene{{make(Action::allow, {})}}.allows(from_client));
    CHECK(Scene{{make(Action::deny, {})}}.allows(from_client));
    CHECK(Scene{{make(Action::allow, {})}}.ask(from_client).refusal() ==
          "connection closed due to policy rejection: allow policies exist, but none allowed");
}

TEST_CASE("decision: an empty rule and an empty clause match everything, an empty match nothing") {
    CHECK(Scene{{make(Action::allow, {{}})}}.allows(plaintext));
    CHECK(Scene{{make(Action::allow, {{{}}})}}.allows(plaintext));
    CHECK_FALSE(Scene{{make(Action::allow, {{{Match{}}}})}}.allows(from_client));
    CHECK(Scene{{make(Action::deny, {{{Match{}}}})}}.allows(from_client));
    CHECK_FALSE(Scene{{make(Action::deny, {{}})}}.allows(from_client));
}

TEST_CASE("decision: rules are alternatives, clauses go together, matches are alternatives") {
    Match port, other_port, account;
    port.destination_ports = {8080};
    other_port.destination_ports = {9090};
    account.service_accounts = {{"from", "account"}};
    CHECK(Scene{{make(Action::allow, {{{other_port}}, {{port}}})}}.allows(from_client));
    CHECK(Scene{{make(Action::allow, {{{port}, {account}}})}}.allows(from_client));
    CHECK_FALSE(Scene{{make(Action::allow, {{{port}, {account}}})}}.allows(from_stranger));
    CHECK_FALSE(Scene{{make(Action::allow, {{{other_port}, {account}}})}}.allows(from_client));
    CHECK(Scene{{make(Action::allow, {{{other_port, account}}})}}.allows(from_client));
}

TEST_CASE("decision: each field says yes to what it names, its negation says no, and nothing else does") {
    struct Row {
        const char* name;
        void (*set)(Match&, bool negated);
    };
    const Row rows[] = {
        {"namespaces", [](Match& m, bool n) { (n ? m.not_namespaces : m.namespaces).push_back(exact("from")); }},
        {"principals",
         [](Match& m, bool n) { (n ? m.not_principals : m.principals).push_back(exact("td/ns/from/sa/account")); }},
        {"service accounts",
         [](Match& m, bool n) {
             (n ? m.not_service_accounts : m.service_accounts).push_back({"from", "account"});
         }},
        {"source addresses",
         [](Match& m, bool n) { (n ? m.not_source_ips : m.source_ips).push_back(range("127.0.0.1/32")); }},
        {"destination addresses",
         [](Match& m, bool n) { (n ? m.not_destination_ips : m.destination_ips).push_back(range("127.0.0.2")); }},
        {"destination ports", [](Match& m, bool n) { (n ? m.not_destination_ports : m.destination_ports) = {8080}; }},
    };
    const Connection other{*base::IpAddress::parse("127.0.0.3"), *base::SocketAddress::parse("127.0.0.4:80"),
                           &stranger};
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Match positive, negative;
        row.set(positive, false);
        row.set(negative, true);
        CHECK(Scene{{allow(positive)}}.allows(from_client));
        CHECK_FALSE(Scene{{allow(positive)}}.allows(other));
        CHECK_FALSE(Scene{{allow(negative)}}.allows(from_client));
        CHECK(Scene{{allow(negative)}}.allows(other));
        CHECK_FALSE(Scene{{deny(positive)}}.allows(from_client));
        CHECK(Scene{{deny(positive)}}.allows(other));
    }
}

TEST_CASE("decision: texts match whole, by their start, by their end, or by being there") {
    struct Row {
        StringMatch text;
        bool matches;
    };
    const Row rows[] = {
        {exact("td/ns/from/sa/account"), true},
        {exact("spiffe://td/ns/from/sa/account"), false},
        {exact("TD/ns/from/sa/account"), false},
        {{Form::prefix, "td/ns/from/"}, true},
        {{Form::prefix, "d/ns"}, false},
        {{Form::prefix, ""}, true},
        {{Form::suffix, "/account"}, true},
        {{Form::suffix, "/accoun"}, false},
        {{Form::suffix, "x" + client.to_string()}, false},
        {{Form::presence, ""}, true},
        {exact(""), false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text.text);
        Match match;
        match.principals = {row.text};
        CHECK(Scene{{allow(match)}}.allows(from_client) == row.matches);
        CHECK_FALSE(Scene{{allow(match)}}.allows(plaintext));
    }
}

TEST_CASE("decision: plaintext has no principal and no account, and its namespace is the empty text") {
    Match principal, no_principal, empty_namespace, no_namespace, account, no_account;
    principal.principals = {{Form::presence, ""}};
    no_principal.not_principals = {{Form::presence, ""}};
    empty_namespace.namespaces = {exact("")};
    no_namespace.not_namespaces = {{Form::presence, ""}};
    account.service_accounts = {{"", ""}};
    no_account.not_service_accounts = {{"from", "account"}};
    CHECK_FALSE(Scene{{allow(principal)}}.allows(plaintext));
    CHECK(Scene{{allow(no_principal)}}.allows(plaintext));
    CHECK(Scene{{allow(empty_namespace)}}.allows(plaintext));
    CHECK(Scene{{allow(no_namespace)}}.allows(plaintext));
    CHECK_FALSE(Scene{{allow(account)}}.allows(plaintext));
    CHECK(Scene{{allow(no_account)}}.allows(plaintext));
    // What istiod makes of STRICT.
    CHECK_FALSE(Scene{{deny(no_principal)}}.allows(plaintext));
    CHECK(Scene{{deny(no_principal)}}.allows(from_client));
}

TEST_CASE("decision: accounts are compared without their trust domain, principals with it") {
    const state::Identity abroad{"other", "from", "account"};
    Match account, principal;
    account.service_accounts = {{"from", "account"}};
    principal.principals = {exact("td/ns/from/sa/account")};
    CHECK(Scene{{allow(account)}}.allows({client_ip, server, &abroad}));
    CHECK_FALSE(Scene{{allow(principal)}}.allows({client_ip, server, &abroad}));
}

TEST_CASE("decision: ranges hold their own family only") {
    Match any_v4;
    any_v4.source_ips = {range("0.0.0.0/0")};
    CHECK(Scene{{allow(any_v4)}}.allows(from_client));
    CHECK_FALSE(Scene{{allow(any_v4)}}.allows({*base::IpAddress::parse("fd00::1"), server, &client}));
}

TEST_CASE("decision: deny wins over allow, and the first that denies is named") {
    Match all;
    all.destination_ports = {8080};
    auto first = deny(all), second = deny(all);
    first.name = "first";
    second.name = "second";
    const Scene scene{{allow(all), first, second}};
    const auto decision = scene.ask(from_client);
    CHECK(decision.verdict == Verdict::denied);
    REQUIRE(decision.by != nullptr);
    CHECK(decision.by->key == "ns/first");
    CHECK(decision.refusal() == "connection closed due to policy rejection: explicitly denied by: ns/first");
}

TEST_CASE("decision: a dry run decides nothing, and is told of") {
    for (Action action : {Action::deny, Action::allow}) {
        Match other, own;
        other.destination_ports = {1};
        own.destination_ports = {8080};
        auto rehearsed = make(action, {{{action == Action::deny ? own : other}}});
        rehearsed.dry_run = true;
        const Scene scene{{rehearsed}};
        CHECK(scene.allows(from_client));
        CHECK(scene.set.of("w")->has_dry_runs());
        int told = 0;
        scene.set.of("w")->for_each_dry_run(from_client, [&](const Named&) { ++told; });
        CHECK(told == (action == Action::deny ? 1 : 0));
    }
}

TEST_CASE("decision: scopes: everybody's, its namespace's, and those that the workload names") {
    Match all;
    all.not_destination_ports = {1};
    struct Row {
        const char* name;
        Scope scope;
        std::string namespace_;
        std::vector<std::string> named;
        bool applies;
    };
    for (const Row& row :
         {Row{"global", Scope::global, "root", {}, true}, Row{"own namespace", Scope::of_namespace, "ns", {}, true},
          Row{"other namespace", Scope::of_namespace, "other", {}, false},
          Row{"no namespace: everybody's", Scope::of_namespace, "", {}, true},
          Row{"selector, not named", Scope::of_workloads, "ns", {}, false},
          Row{"selector, named", Scope::of_workloads, "ns", {"ns/p"}, true},
          Row{"selector of another namespace, named", Scope::of_workloads, "o", {"o/p"}, true}}) {
        CAPTURE(row.name);
        auto policy = deny(all);
        policy.scope = row.scope;
        policy.namespace_ = row.namespace_;
        CHECK(Scene{{policy}, row.named}.allows(from_client) != row.applies);
    }
}

TEST_CASE("decision: a policy that nobody has refuses everything, one of a PeerAuthentication plaintext only") {
    const Scene other{{}, {"ns/gone"}};
    CHECK_FALSE(other.allows(from_client));
    CHECK_FALSE(other.allows(plaintext));
    CHECK(other.ask(plaintext).refusal() == "connection closed due to policy rejection: explicitly denied by: ns/gone");
    for (const char* name : {"ns/converted_peer_authentication_x", "istio-system/istio_converted_static_strict"}) {
        CAPTURE(name);
        const Scene converted{{}, {name}};
        CHECK(converted.allows(from_client));
        CHECK_FALSE(converted.allows(plaintext));
    }
    CHECK(Scene{{}, {"ns/gone"}, Unknown::allow}.allows(plaintext));
}

TEST_CASE("decision: an identity that nobody can have is allowed nothing that is not allowed to all") {
    const state::Identity endless{"td", "from", std::string(5000, 'a')};
    Match port;
    port.destination_ports = {8080};
    CHECK_FALSE(Scene{{allow(port)}}.allows({client_ip, server, &endless}));
    CHECK(Scene{{}}.allows({client_ip, server, &endless}));
}

TEST_CASE("hits: a count goes on when its policy changes, and ends with the policy") {
    Ledger ledger{2};
    auto first = ledger.of("ns/p");
    first->add(0);
    first->add(1);
    auto second = ledger.of("ns/p");
    second->add(1);
    first.reset();
    CHECK(ledger.counts() == std::map<std::string, std::uint64_t>{{"ns/p", 3}});
    second.reset();
    CHECK(ledger.counts().empty());
}
