// SPDX-License-Identifier: Apache-2.0
// A policy that nobody could read from its first appearance.
#include <culvert/xds/conversation.hpp>
#include <culvert/xds/store.hpp>

#include <doctest/doctest.h>

#include "say.hpp"
#include "xds/stand_in.hpp"

using namespace culvert;

namespace {

struct Talk {
    xds::Heard hear(const say::Response& response) {
        auto heard = conversation.hear(say::bytes(response));
        REQUIRE(heard.has_value());
        store.take(heard->kind, heard->changed, heard->removed);
        return std::move(*heard);
    }
    bool denies_all(const std::string& key) {
        for (const auto& policy : store.policies())
            if (policy.key() == key)
                return policy.action == policy::Action::deny && policy.rules == std::vector<policy::Rule>{{}};
        return false;
    }

    xds::Conversation conversation{{"node", {}}};
    xds::Store store;
};

say::Response broken(const std::string& name, const std::string& nonce = "n1") {
    auto response = say::policies(nonce);
    say::add(response, name, "\xff", "");
    return response;
}

policy::Policy of(const std::string& name, const std::string& bytes = "\xff") {
    auto made = xds::stand_in(name, bytes, "istio-system");
    REQUIRE(made.has_value());
    return *made;
}

}

TEST_SUITE("xds") {

TEST_CASE("stand-in: a policy that cannot be read when it first comes denies, and istiod is told why") {
    Talk talk;
    auto heard = talk.hear(broken("ns/p"));
    CHECK(say::request(heard.request).error_detail().message() ==
          "ns/p: its bytes are no istio.security.Authorization");
    CHECK(!heard.changes_nothing());
    CHECK(talk.denies_all("ns/p"));
    CHECK(talk.conversation.held(xds::Kind::authorization) == 0);

    SUBCASE("until it can be read") {
        auto good = say::policies("n2");
        say::add(good, say::policy("p"), "");
        talk.hear(good);
        CHECK(!talk.denies_all("ns/p"));
        CHECK(talk.store.policies().size() == 1);
        // From here on it is one that was read once: that version stays.
        talk.hear(broken("ns/p", "n3"));
        CHECK(!talk.denies_all("ns/p"));
    }
    SUBCASE("until it goes") {
        auto gone = say::policies("n2");
        gone.add_removed_resources("ns/p");
        CHECK(talk.hear(gone).removed == std::vector<std::string>{"ns/p"});
        CHECK(talk.store.policies().empty());
    }
    SUBCASE("over a reconnect, at which istiod hears of it, and so says when it is gone") {
        auto versions = say::request(talk.conversation.begin().at(1)).initial_resource_versions();
        REQUIRE(versions.count("ns/p") == 1);
        CHECK(versions.at("ns/p").empty());
        talk.hear(broken("ns/p", "n2"));
        CHECK(talk.denies_all("ns/p"));
        CHECK(talk.store.policies().size() == 1);
    }
}

TEST_CASE("stand-in: an address that cannot be read has none") {
    Talk talk;
    auto response = say::addresses();
    say::add(response, "uid", "\xff", "v1");
    CHECK(talk.hear(response).changes_nothing());
    CHECK(say::request(talk.conversation.begin().at(0)).initial_resource_versions().empty());
}

TEST_CASE("stand-in: is for whom its policy is as far as the bytes say it, else for the namespace in its name") {
    using policy::Scope;
    CHECK(of("ns/p").scope == Scope::of_namespace);
    CHECK(of("ns/p").namespace_ == "ns");
    CHECK(of("ns/p").name == "p");
    CHECK(of("istio-system/p").scope == Scope::global);

    auto said = say::policy("p");
    said.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0)->add_source_ips()->set_address("12345");
    CHECK(of("ns/p", said.SerializeAsString()).scope == Scope::of_namespace);
    said.set_scope(istio::security::WORKLOAD_SELECTOR);
    CHECK(of("ns/p", said.SerializeAsString()).scope == Scope::of_workloads);
    CHECK(of("istio-system/p", said.SerializeAsString()).scope == Scope::of_workloads);
    said.set_scope(istio::security::GLOBAL);
    CHECK(of("ns/p", said.SerializeAsString()).scope == Scope::global);
    said.set_scope(static_cast<istio::security::Scope>(7));
    CHECK(of("ns/p", said.SerializeAsString()).scope == Scope::of_namespace);
    // An ALLOW that cannot be read lets nobody in.
    said.set_action(istio::security::ALLOW);
    CHECK(of("ns/p", said.SerializeAsString()).action == policy::Action::deny);
    // One that is tried out does nothing either way.
    said.set_dry_run(true);
    CHECK(of("ns/p", said.SerializeAsString()).dry_run);
}

TEST_CASE("stand-in: of a PeerAuthentication it refuses plaintext, to those who name it") {
    for (const char* name : {"istio-system/istio_converted_static_strict", "ns/converted_peer_authentication_x"}) {
        CAPTURE(name);
        auto made = of(name);
        CHECK(made.scope == policy::Scope::of_workloads);
        policy::Match unnamed;
        unnamed.not_principals.push_back({policy::Form::presence, {}});
        CHECK(made.rules == std::vector<policy::Rule>{{{unnamed}}});
    }
}

TEST_CASE("stand-in: a name that is no policy's has none") {
    for (const char* name : {"", "p", "/p", "ns/"}) CHECK(!xds::stand_in(name, "\xff", "istio-system"));
}

}
