// SPDX-License-Identifier: Apache-2.0
// Our CA client, and the manager of certificates on it, in front of a gRPC server of another make that signs as istiod
// does.
#include <doctest/doctest.h>

#include <culvert/ca/client.hpp>
#include <culvert/tls/certificates.hpp>
#include <culvert/tls/rehearsal.hpp>

#include "beside_istiod.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

const state::Identity alice{"cluster.local", "shop", "alice"};
const state::Identity bob{"cluster.local", "shop", "bob"};

// A CA, a client of it, and who keeps certificates from it, on this thread.
struct Scene : BesideIstiod {
    explicit Scene(std::chrono::milliseconds deadline = 10s)
        : BesideIstiod{{"--token", "good", "--token", "newer"}}, deadline_{deadline} {}

    void start() {
        client = std::make_unique<ca::Client>(io, target, ca::Client::Options{.deadline = deadline_});
        manager = std::make_unique<tls::CertificateManager>(
            io, *client, 24h, [this](tls::CredentialsMapPtr map) { known = std::move(map); });
    }
    tls::CredentialsPtr good(const state::Identity& identity) const { return known->at(identity).good(); }
    bool fails_with(const std::string& words) {
        return soon([&] { return known->at(alice).failure.find(words) != std::string::npos; });
    }
    std::string failure() const { return known->at(alice).failure; }

    tls::CredentialsMapPtr known;
    std::unique_ptr<ca::Client> client;
    std::unique_ptr<tls::CertificateManager> manager;

private:
    std::chrono::milliseconds deadline_;
};

}

TEST_SUITE("ca") {

TEST_CASE("ca: each identity gets a certificate of its own key, which its peers accept") {
    Scene scene;
    scene.start();
    scene.manager->add(alice);
    scene.manager->add(bob);
    REQUIRE(scene.soon([&] { return scene.good(alice) && scene.good(bob); }));
    CHECK(tls::rehearse(scene.good(alice)).has_value());
    CHECK(scene.good(alice)->certified == alice);
    CHECK(scene.good(alice)->not_after - std::chrono::system_clock::now() > 23h);
    CHECK(scene.istiod.said(
              {"\"signed\"", "ns/shop/sa/alice", "\"seconds\": 86400", "\"clusterid\": \"Kubernetes\""}) == 1);
    CHECK(scene.istiod.said({"\"signed\""}) == 2);
    auto dump = scene.manager->dump();
    REQUIRE(dump.size() == 2);
    CHECK(dump[0].chain.size() == 1);
    CHECK(dump[0].roots.size() == 1);
    CHECK(dump[0].chain[0].serial == scene.good(alice)->serial);
}

TEST_CASE("ca: a token that is refused is said to be, and the next one is read from the file") {
    Scene scene;
    scene.token("old");
    scene.start();
    scene.manager->add(alice);
    REQUIRE(scene.fails_with("Unauthenticated"));
    CHECK_MESSAGE(scene.failure().find("it refused our token (the one in ") != std::string::npos, scene.failure());
    scene.token("newer");
    CHECK(scene.soon([&] { return scene.good(alice); }));
}

TEST_CASE("ca: an identity that the CA does not give us is said to be, and asked for again") {
    Scene scene;
    scene.istiod.order(R"({"do": "identities", "accept": ["spiffe://cluster.local/ns/shop/sa/bob"]})");
    scene.start();
    scene.manager->add(alice);
    scene.manager->add(bob);
    REQUIRE(scene.fails_with("does istiod know a pod of shop/alice on this node?"));
    CHECK(scene.soon([&] { return scene.good(bob); }));
    scene.istiod.order(R"({"do": "identities", "accept": null})");  // its informer has caught up
    CHECK(scene.soon([&] { return scene.good(alice); }));
}

TEST_CASE("ca: away when it is first asked, and back") {
    Scene scene;
    scene.istiod.order(R"({"do": "away"})");
    scene.start();
    scene.manager->add(alice);
    REQUIRE(scene.fails_with("is istiod running?"));
    CHECK_MESSAGE(scene.failure().starts_with("the CA at " + scene.target.address + ": Unavailable"), scene.failure());
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.good(alice); }));
    CHECK(scene.failure() == "");
}

TEST_CASE("ca: one that does not answer is given up in time") {
    Scene scene{500ms};
    scene.istiod.order(R"({"do": "slow", "part": "ca", "seconds": 2})");
    scene.start();
    scene.manager->add(alice);
    CHECK(scene.fails_with("DeadlineExceeded"));
    CHECK_MESSAGE(scene.failure().ends_with("is istiod overloaded?"), scene.failure());
}

TEST_CASE("ca: something else at its address is no CA") {
    Scene scene;
    scene.start();
    scene.istiod.order(R"({"do": "back", "as": "http"})");
    scene.manager->add(alice);
    REQUIRE(scene.fails_with("what the server says is no HTTP/2"));
    scene.istiod.order(R"({"do": "back"})");
    CHECK(scene.soon([&] { return scene.good(alice); }));
}

TEST_CASE("ca: new roots come with the next certificates, which may be asked for at once") {
    Scene scene;
    scene.start();
    scene.manager->add(alice);
    scene.manager->add(bob);
    REQUIRE(scene.soon([&] { return scene.good(alice) && scene.good(bob); }));
    const auto first = scene.known;
    scene.istiod.order(R"({"do": "other root", "told": true})");
    scene.manager->renew_all(100ms);
    REQUIRE(scene.soon(
        [&] { return scene.good(alice) != first->at(alice).current && scene.good(bob) != first->at(bob).current; }));
    CHECK(tls::rehearse(scene.good(alice)).has_value());
    for (const auto& one : scene.manager->dump()) CHECK(one.roots.size() == 2);
}

TEST_CASE("ca: short-lived certificates are renewed while they are good") {
    Scene scene;
    scene.istiod.order(R"({"do": "sign for", "seconds": 4})");
    scene.start();
    scene.manager->add(alice);
    REQUIRE(scene.soon([&] { return scene.good(alice); }));
    const auto first = scene.good(alice);
    bool ever_without = false;
    CHECK(scene.soon([&] {
        ever_without |= !scene.good(alice);
        return scene.good(alice) != first;
    }));
    CHECK(!ever_without);
    CHECK(scene.good(alice)->serial != first->serial);
}

}
