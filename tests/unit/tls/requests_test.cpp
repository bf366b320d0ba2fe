// SPDX-License-Identifier: Apache-2.0
// The certificate manager with a CA that answers when, and what, the test wants.
#include <culvert/tls/certificates.hpp>

#include <boost/asio/io_context.hpp>

#include <doctest/doctest.h>

#include <deque>

#include "fixtures.hpp"

using namespace fixtures;
using namespace std::chrono_literals;

namespace {

struct SlowCa final : tls::Issuer {
    struct Asked {
        Identity identity;
        std::chrono::seconds lifetime;
        Issued issued;
    };
    void issue(const Identity& identity, std::chrono::seconds lifetime, Issued issued) override {
        asked.push_back({identity, lifetime, std::move(issued)});
    }
    // The request that came first of those that wait.
    void answer(culvert::base::Result<tls::Pem> pem) {
        Asked first = std::move(asked.front());
        asked.pop_front();
        first.issued(std::move(pem));
    }
    void answer_well(std::chrono::seconds until = 1h) {
        const Wanted wanted{.uris = {asked.front().identity.to_string()}, .until = until};
        answer(leaf(root, wanted));
    }
    std::deque<Asked> asked;
    ::Issuer root = ::Issuer::root("slow");
};

struct Node {
    void run_for(std::chrono::milliseconds time) {
        auto end = std::chrono::steady_clock::now() + time;
        while (std::chrono::steady_clock::now() < end) io.run_one_until(end);
    }
    const tls::Standing& standing(const Identity& identity) const { return published->at(identity); }
    std::string state(const Identity& identity) const {
        for (const auto& one : manager.stats())
            if (one.identity == identity) return one.state;
        return "unknown";
    }

    boost::asio::io_context io;
    SlowCa ca;
    tls::CredentialsMapPtr published;
    int publications = 0;
    tls::CertificateManager manager{io, ca, 24h, [this](tls::CredentialsMapPtr map) {
                                        published = std::move(map);
                                        ++publications;
                                    }};
};

}

TEST_SUITE("tls") {
TEST_CASE("requests: an identity is known at once, and has its certificate once the CA has answered") {
    Node node;
    node.manager.add(alice);
    node.manager.add(alice);
    REQUIRE(node.ca.asked.size() == 1);
    CHECK(node.ca.asked[0].lifetime == 24h);
    CHECK(node.standing(alice).good() == nullptr);
    CHECK(node.state(alice) == "Initializing");
    CHECK(node.manager.stats()[0].serial == "");
    CHECK(node.manager.totals().under_way == 1);
    node.ca.answer_well();
    REQUIRE(node.standing(alice).good());
    CHECK(node.state(alice) == "Available");
    CHECK(node.manager.totals().issued == 1);
    CHECK(node.manager.totals().under_way == 0);
    auto dump = node.manager.dump();
    REQUIRE(dump.size() == 1);
    REQUIRE(dump[0].chain.size() == 1);
    REQUIRE(dump[0].roots.size() == 1);
    CHECK(dump[0].chain[0].serial == node.standing(alice).current->serial);
    CHECK(dump[0].roots[0].pem == node.ca.root.pem());
    CHECK(dump[0].state == "Available");
}

TEST_CASE("requests: while the CA is away it is said why, and it is asked again") {
    Node node;
    node.manager.add(alice);
    node.ca.answer(culvert::base::problem("the CA is away"));
    CHECK(node.state(alice) == "Unavailable: the CA is away");
    CHECK(node.standing(alice).failure == "the CA is away");
    CHECK(node.standing(alice).next_try > std::chrono::steady_clock::now() + 700ms);
    node.manager.hurry(alice);
    CHECK(node.ca.asked.empty());  // who waits does not make a CA that fails be asked more often
    node.run_for(1300ms);
    REQUIRE(node.ca.asked.size() == 1);
    node.ca.answer_well();
    CHECK(node.standing(alice).good());
    CHECK(node.standing(alice).failure == "");
    CHECK(node.manager.stats()[0].failures == 1);
}

TEST_CASE("requests: a certificate that could not be renewed is used until it ends") {
    Node node;
    node.manager.add(alice);
    node.ca.answer_well(3s);
    node.run_for(1700ms);
    REQUIRE(node.ca.asked.size() == 1);
    node.ca.answer(culvert::base::problem("the CA is away"));
    CHECK(node.state(alice) == "Available");
    CHECK(node.standing(alice).good());
    CHECK(node.standing(alice).failure == "the CA is away");
    node.run_for(1400ms);
    CHECK(node.state(alice) == "Unavailable: the CA is away");
    CHECK(!node.standing(alice).good());
}

TEST_CASE("requests: who is waited for is asked for before others, and few at a time") {
    Node node;
    auto number = [](int i) { return Identity{"cluster.local", "shop", "sa-" + std::to_string(100 + i)}; };
    for (int i = 0; i < 12; ++i) node.manager.add(number(i));
    CHECK(node.ca.asked.size() == 7);
    node.manager.hurry(number(11));
    REQUIRE(node.ca.asked.size() == 8);
    CHECK(node.ca.asked[7].identity == number(11));
    for (int i = 0; i < 8; ++i) node.ca.answer_well();
    CHECK(node.ca.asked.size() == 4);
    node.manager.hurry(number(0));  // has one
    CHECK(node.ca.asked.size() == 4);
}

TEST_CASE("requests: what a CA answers is looked at before it is used") {
    const auto other = ::Issuer::root("other");
    struct Case {
        const char* expected;
        tls::Pem pem;
    };
    auto mixed = leaf(other, {.uris = {alice.to_string()}});
    mixed.key = leaf(other, {.uris = {alice.to_string()}}).key;
    auto rootless = leaf(other, {.uris = {alice.to_string()}});
    rootless.roots = "no PEM";
    auto chainless = rootless;
    chainless.chain = "";
    for (const auto& [expected, pem] : {
             Case{"the certificate is for spiffe://cluster.local/ns/shop/sa/bob, it was asked for ",
                  leaf(other, {.uris = {bob.to_string()}})},
             Case{"the certificate is for https://a.b, it was asked for ",
                  leaf(other, {.uris = {"https://a.b", alice.to_string()}})},
             Case{"the certificate is for no URI, it was asked for ", leaf(other, {})},
             Case{"the private key does not belong to the certificate", mixed},
             Case{"read roots: there is no certificate that can be read", rootless},
             Case{"read certificate chain: there is no certificate in it", chainless},
             Case{"the certificate that came expired at ", leaf(other, {.uris = {alice.to_string()}, .until = -1s})},
         }) {
        CAPTURE(expected);
        Node fresh;
        fresh.manager.add(alice);
        fresh.ca.answer(pem);
        CHECK(!fresh.standing(alice).current);
        CHECK_MESSAGE(fresh.state(alice).starts_with(std::string{"Unavailable: "} + expected), fresh.state(alice));
    }
}

TEST_CASE("requests: the answer for an identity that has gone is thrown away") {
    Node node;
    node.manager.add(alice);
    node.manager.remove(alice);
    CHECK(node.published->empty());
    const int before = node.publications;
    node.ca.answer_well();
    CHECK(node.published->empty());
    CHECK(node.publications == before);
    CHECK(node.manager.totals().issued == 0);
}

TEST_CASE("requests: an answer after the end of the manager is none") {
    auto node = std::make_unique<Node>();
    node->manager.add(alice);
    auto late = std::move(node->ca.asked.front().issued);
    node.reset();
    late(culvert::base::problem("too late"));
}
}
