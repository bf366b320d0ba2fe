// SPDX-License-Identifier: Apache-2.0
// Strangers at 15008, and a stranger in the place of a peer: what TLS must refuse, and how it is heard of.
#include <doctest/doctest.h>

#include "bystander.hpp"
#include "hostile_peer.hpp"
#include "outcome.hpp"

using namespace culvert::test;

namespace {

const std::string stranger = "spiffe://cluster.local/ns/ns/sa/stranger";

struct Row {
    std::string name;
    Wish wish = {};
    Tls tls = {};
    bool no_papers = false;
    bool unknown_root = false;
    std::string fault;  // culvert_proxy_peer_faults_total; empty: it is let in
    std::string line;   // of the access log, somewhere in its error
    std::string end;    // what the peer gets to see begins with
};

const Row rows[] = {
    {.name = "in order", .end = "GOAWAY"},
    {.name = "wrong trust domain",
     .wish = {.names = {"spiffe://other.example/ns/ns/sa/stranger"}},
     .fault = "identity",
     .line = "did not present the expected trustdomain",
     .end = "alert"},
    {.name = "expired",
     .wish = {.from = -7200, .until = -3600},
     .fault = "certificate",
     .line = "certificate has expired",
     .end = "alert"},
    {.name = "not yet valid",
     .wish = {.from = 3600, .until = 7200},
     .fault = "certificate",
     .line = "not yet valid",
     .end = "alert"},
    {.name = "no certificate", .no_papers = true, .fault = "certificate", .line = "certificate", .end = "alert"},
    {.name = "another root of the same name",
     .unknown_root = true,
     .fault = "certificate",
     .line = "certificate",
     .end = "alert"},
    {.name = "for servers only",
     .wish = {.usage = "serverAuth"},
     .fault = "certificate",
     .line = "unsuitable certificate purpose",
     .end = "alert"},
    {.name = "no name", .wish = {.names = {}}, .fault = "identity", .line = "trustdomain", .end = "alert"},
    {.name = "a name that is no SPIFFE id of a workload",
     .wish = {.names = {"spiffe://cluster.local/stranger"}},
     .fault = "identity",
     .line = "trustdomain",
     .end = "alert"},
    {.name = "several names, ours among them",
     .wish = {.names = {"spiffe://other.example/ns/ns/sa/x", stranger}},
     .end = "GOAWAY"},
    {.name = "TLS 1.2",
     .tls = {.lowest = TLS1_2_VERSION, .highest = TLS1_2_VERSION},
     .fault = "tls",
     .line = "unsupported protocol",
     .end = "refused: "},
    {.name = "no ALPN", .tls = {.alpn = ""}, .fault = "tls", .line = "ALPN", .end = "alert"},
    {.name = "http/1.1",
     .tls = {.alpn = "http/1.1"},
     .fault = "tls",
     .line = "no application protocol",
     .end = "refused: "},
};

// The end as the peer sees it; one that is let in says something that ends it.
std::string end_of(World& world, const Forger& ca, const Forger& unknown, const Row& row) {
    Papers papers = (row.unknown_root ? unknown : ca).issue(row.wish);
    HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
    Tls tls = row.tls;
    tls.papers = row.no_papers ? nullptr : &papers;
    const std::string refused = peer.shake_hands(tls);
    if (!refused.empty()) return "refused: " + refused;
    peer.try_send(h2::preface + h2::frame(h2::SETTINGS, 0, 0) + h2::frame(h2::DATA, 0, 1, "before HEADERS"));
    return peer.ending();
}

}

TEST_SUITE("hostile_tls") {

TEST_CASE("hostile: who is not who it must be is refused, told why, logged and counted" IPV4) {
    World& world = World::shared();
    const Forger ca{world.lab.folder() / "ca"};
    const Forger unknown = Forger::unknown();
    Bystander bystander{world};
    for (const Row& row : rows) {
        CAPTURE(row.name);
        world.mark();
        const double before = bystander.rise("culvert_proxy_peer_faults_total{fault=\"" + row.fault + "\"}");
        const std::string end = end_of(world, ca, unknown, row);
        CHECK_MESSAGE(end.starts_with(row.end), end);
        if (row.fault.empty()) continue;
        bystander.check_faults(row.fault, before + 1);
        CHECK(logged(world.one, row.line));
    }
    bystander.check();
}

TEST_CASE("hostile: a server with another's name gets no byte, and the app hears of it" IPV4) {
    World& world = World::shared();
    const Forger ca{world.lab.folder() / "ca"};
    Bystander bystander{world};
    HostileServer impostor{world.down.netns(), 15008};
    for (const auto& [name, wish, words] :
         {std::tuple{"another's name", Wish{}, "identity verification error: peer did not present the expected SAN"},
          std::tuple{"its own, and expired",
                     Wish{.names = {world.mesh.identity(world.down)}, .from = -7200, .until = -3600},
                     "certificate has expired"},
          std::tuple{"its own, for clients only",
                     Wish{.names = {world.mesh.identity(world.down)}, .usage = "clientAuth"},
                     "unsuitable certificate purpose"}}) {
        CAPTURE(name);
        world.mark();
        const Papers papers = ca.issue(wish);
        Connection app = world.client.dial(world.down.at(Family::v4, 8080));
        app.send("a secret");
        HostilePeer server = impostor.accept();
        const std::string refused = server.shake_hands({.papers = &papers}, true);
        CHECK_MESSAGE(refused.find("alert") != std::string::npos, refused);
        CHECK(app.ending() == "reset");
        CHECK(logged(world.one, words));
    }
    bystander.check();
}

TEST_CASE("hostile: a peer that renews its keys without end is cut off" IPV4) {
    World& world = World::shared();
    const Forger ca{world.lab.folder() / "ca"};
    Bystander bystander{world};
    const Papers papers = ca.issue();
    for (const bool ask_back : {false, true}) {
        CAPTURE(ask_back);
        HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
        REQUIRE(peer.shake_hands({.papers = &papers}) == "");
        peer.begin_http2();
        int renewed = 0;
        while (renewed < 100'000 && peer.key_update(ask_back)) ++renewed;
        CHECK(renewed < 100'000);
    }
    bystander.check_faults("flood", 2);
    // Within reason it is anybody's right.
    HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
    REQUIRE(peer.shake_hands({.papers = &papers}) == "");
    peer.begin_http2();
    for (int i = 0; i < 10; ++i) CHECK(peer.key_update(true));
    peer.send(h2::PING, 0, 0, "12345678");
    const auto answer = peer.next(h2::PING);
    REQUIRE(answer);
    CHECK(answer->payload == "12345678");
    bystander.check();
}

TEST_CASE("hostile: what comes under a ticket of old before the handshake is over is never acted upon" IPV4) {
    World& world = World::shared();
    const Forger ca{world.lab.folder() / "ca"};
    Bystander bystander{world};
    const Papers papers = ca.issue();
    Server app{world.near.netns(), 8081, apps::echo};
    const std::string request =
        h2::frame(h2::HEADERS, h2::END_HEADERS, 1, h2::connect_to(world.near.at(Family::v4, 8081).to_string())) +
        h2::frame(h2::DATA, h2::END_STREAM, 1, "words");
    const std::string all = h2::preface + h2::frame(h2::SETTINGS, 0, 0) + request;
    {
        HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
        REQUIRE(peer.shake_hands({.papers = &papers, .early = all}) == "");
        CHECK(SSL_get_early_data_status(peer.ssl()) == SSL_EARLY_DATA_REJECTED);
        CHECK(SSL_session_reused(peer.ssl()) == 0);
        // The tunnel is as if nothing had been said: the preface is due now, and stream 1 is free.
        peer.begin_http2();
        peer.send(h2::PING, 0, 0, "12345678");
        REQUIRE(peer.next(h2::PING));
        CHECK(app.guests().empty());
        peer.send(request);
        const auto echo = peer.next(h2::DATA);
        REQUIRE(echo);
        CHECK(echo->payload == "words");
        CHECK(app.guests().size() == 1);
    }
    // More than may be passed over.
    world.mark();
    HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
    const std::string refused = peer.shake_hands({.papers = &papers, .early = all + std::string(100'000, 'x')});
    const std::string end = refused.empty() ? peer.ending() : refused;  // our side may be done before it hears
    CHECK_MESSAGE((end.find("alert") != std::string::npos || end == "reset" || end == "early data: "), end);
    bystander.check_faults("tls", 1);
    CHECK(logged(world.one, "too much early data"));
    CHECK(app.guests().size() == 1);
    bystander.check();
}

TEST_CASE("hostile: no session, no renegotiation" IPV4) {
    World& world = World::shared();
    const Forger ca{world.lab.folder() / "ca"};
    Bystander bystander{world};
    const Papers papers = ca.issue();
    HostilePeer peer{world.plain2.netns(), world.near.at(Family::v4, 15008)};
    REQUIRE(peer.shake_hands({.papers = &papers}) == "");
    peer.begin_http2();
    peer.send(h2::PING, 0, 0, "12345678");
    CHECK(peer.next(h2::PING));
    // No ticket came, so there is nothing to come back with: neither a session nor 0-RTT.
    culvert::base::Handle<SSL_SESSION, SSL_SESSION_free> session{SSL_get1_session(peer.ssl())};
    CHECK(SSL_SESSION_is_resumable(session.get()) == 0);
    CHECK(SSL_SESSION_get_max_early_data(session.get()) == 0);
    CHECK(SSL_renegotiate(peer.ssl()) == 0);
    bystander.check();
}

}
