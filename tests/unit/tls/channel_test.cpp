// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>

#include <doctest/doctest.h>

#include "fixtures.hpp"

using namespace fixtures;
using culvert::tls::Channel;

namespace {

struct Mesh {
    Issuer root = Issuer::root("cluster.local");
    tls::CredentialsPtr a = good(root, alice);
    tls::CredentialsPtr b = good(root, bob);

    Pair connected() const {
        auto p = pair(a, b, {bob.to_string()});
        p.shake();
        REQUIRE(p.client_done);
        REQUIRE(p.server_done);
        return p;
    }
};

const Mesh& mesh() {
    static const Mesh made;
    return made;
}

// p's channels keep pointers to its buffers, which moved with it.
void rewire(Pair& p) {
    p.client.write_to(p.to_server);
    p.server.write_to(p.to_client);
}

std::size_t records_in(const Output& wire) {
    std::size_t count = 0;
    for (std::size_t at = 0; at + 5 <= wire.size(); ++count)
        at += 5 + (std::to_integer<std::size_t>(wire[at + 3]) << 8) + std::to_integer<std::size_t>(wire[at + 4]);
    return count;
}

}

TEST_SUITE("tls") {
TEST_CASE("channel: bytes come through both ways in whatever pieces they are cut") {
    Pair p = mesh().connected();
    rewire(p);
    struct Row {
        std::size_t sealed, piece, room;
    };
    for (const Row& row :
         {Row{1, 1, 1}, Row{1000, 1, 64}, Row{16384, 13, 1 << 16}, Row{16385, 1000, 100}, Row{65536, 1, 1 << 16},
          Row{65536, 65536, 1}, Row{262144, 65536, 1 << 18}, Row{262144, 4096, 5000}, Row{1 << 20, 1 << 20, 1 << 20}}) {
        CAPTURE(row.sealed);
        CAPTURE(row.piece);
        auto sent = noise(row.sealed, 1);
        auto other = noise(row.sealed, 2);
        REQUIRE(p.client.seal(sent).has_value());
        REQUIRE(p.server.seal(other).has_value());
        auto at_server = open_all(p.server, p.to_server, row.piece, row.room);
        auto at_client = open_all(p.client, p.to_client, row.piece, row.room);
        CHECK(at_server.error == "");
        CHECK(at_client.error == "");
        CHECK((at_server.plaintext == sent));
        CHECK((at_client.plaintext == other));
    }
}

TEST_CASE("channel: one seal of 256 KiB is 16 records, appended behind what is already in the output") {
    Pair p = mesh().connected();
    rewire(p);
    p.to_server.clear();
    REQUIRE(p.client.seal(noise(10, 1)).has_value());
    std::size_t before = p.to_server.size();
    REQUIRE(p.client.seal(noise(256 * 1024, 2)).has_value());
    CHECK(records_in(p.to_server) == 17);
    CHECK(p.to_server.size() == before + 256 * 1024 + 16 * 22);
}

TEST_CASE("channel: open gathers as many records as fit in one call, and less room loses nothing") {
    Pair p = mesh().connected();
    rewire(p);
    for (int i = 0; i < 100; ++i) REQUIRE(p.client.seal(noise(100, static_cast<std::uint32_t>(i))).has_value());
    Output wire;
    wire.swap(p.to_server);
    std::vector<std::byte> room(9950);
    p.server.receive(wire);
    auto first = p.server.open(room);
    REQUIRE(first.has_value());
    CHECK(*first == 9950);
    auto rest = p.server.open(room);
    REQUIRE(rest.has_value());
    CHECK(*rest == 50);
    auto none = p.server.open(room);
    REQUIRE(none.has_value());
    CHECK(*none == 0);
    CHECK(!p.server.peer_closed());
}

TEST_CASE("channel: what comes with the end of the handshake is not lost") {
    auto p = pair(mesh().a, mesh().b, {bob.to_string()});
    rewire(p);
    REQUIRE(p.client.handshake().has_value());
    Output hello;
    hello.swap(p.to_server);
    p.server.receive(hello);
    REQUIRE(p.server.handshake().has_value());
    Output answer;
    answer.swap(p.to_client);
    p.client.receive(answer);
    auto done = p.client.handshake();
    REQUIRE(done.has_value());
    REQUIRE(*done);
    auto early = noise(40000, 3);
    REQUIRE(p.client.seal(early).has_value());  // in one flight with Finished
    Output flight;
    flight.swap(p.to_server);
    p.server.receive(flight);
    done = p.server.handshake();
    REQUIRE(done.has_value());
    REQUIRE(*done);
    std::vector<std::byte> room(50000);
    auto opened = p.server.open(room);
    REQUIRE(opened.has_value());
    room.resize(*opened);
    CHECK((room == early));
}

TEST_CASE("channel: close_notify ends one direction, the other goes on") {
    Pair p = mesh().connected();
    rewire(p);
    REQUIRE(p.client.seal(noise(100, 1)).has_value());
    p.client.close();
    auto at_server = open_all(p.server, p.to_server);
    CHECK(at_server.error == "");
    CHECK(at_server.plaintext.size() == 100);
    CHECK(p.server.peer_closed());
    CHECK(!p.client.peer_closed());

    auto late = noise(50000, 2);
    REQUIRE(p.server.seal(late).has_value());
    p.server.close();
    p.server.close();  // once more changes nothing
    CHECK(records_in(p.to_client) == 5);
    auto at_client = open_all(p.client, p.to_client);
    CHECK(at_client.error == "");
    CHECK((at_client.plaintext == late));
    CHECK(p.client.peer_closed());
}

TEST_CASE("channel: an end without close_notify is not taken for a close") {
    Pair p = mesh().connected();
    rewire(p);
    REQUIRE(p.client.seal(noise(1000, 1)).has_value());
    p.to_server.resize(p.to_server.size() - 1);
    auto opened = open_all(p.server, p.to_server);
    CHECK(opened.error == "");
    CHECK(opened.plaintext.empty());
    CHECK(!p.server.peer_closed());
}

TEST_CASE("channel: a record that was changed on its way is an error after what was good, and stays one") {
    for (std::size_t at : {0, 3, 5, 700, 1021}) {
        CAPTURE(at);
        Pair p = mesh().connected();
        rewire(p);
        auto first = noise(100, 1);
        REQUIRE(p.client.seal(first).has_value());
        std::size_t second = p.to_server.size();
        REQUIRE(p.client.seal(noise(1000, 2)).has_value());
        REQUIRE(p.client.seal(noise(60000, 3)).has_value());
        p.to_server[second + at] ^= std::byte{1};
        auto opened = open_all(p.server, p.to_server);
        CHECK((opened.plaintext == first));
        CHECK(opened.error.rfind("tls error: ", 0) == 0);
        std::byte byte;
        CHECK(!p.server.open({&byte, 1}).has_value());
        CHECK(!p.server.seal({&byte, 1}).has_value());
        p.server.close();
        CHECK(open_all(p.client, p.to_client).error.rfind("tls error: ", 0) == 0);  // the alert
        CHECK(ERR_peek_error() == 0);
    }
}

TEST_CASE("channel: replayed and reordered records are errors") {
    Pair p = mesh().connected();
    rewire(p);
    REQUIRE(p.client.seal(noise(10, 1)).has_value());
    Output again = p.to_server;
    CHECK(open_all(p.server, p.to_server).error == "");
    CHECK(open_all(p.server, again).error == "tls error: decryption failed or bad record mac");
}

TEST_CASE("channel: a peer may renew its keys in the middle, and asks us to") {
    auto own = leaf(mesh().root, {.uris = {alice.to_string()}});
    auto server = *Channel::server(mesh().b);
    Stranger client{TLS_client_method(), &own};
    constexpr unsigned char h2[] = {2, 'h', '2'};
    SSL_CTX_set_alpn_protos(client.ctx.get(), h2, sizeof h2);
    client.start(true);
    REQUIRE(client.shake(server) == "");
    Output to_client;
    server.write_to(to_client);
    for (int i = 0; i < 3; ++i) {
        SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
        SSL_write(client.ssl.get(), "ping", 4);
        Output to_server;
        client.drain(to_server);
        auto opened = open_all(server, to_server);
        CHECK(opened.error == "");
        CHECK(opened.plaintext.size() == 4);
        auto answer = noise(100, 7);
        REQUIRE(server.seal(answer).has_value());
        client.feed(to_client);
        std::vector<std::byte> got(100);
        CHECK(SSL_read(client.ssl.get(), got.data(), 100) == 100);
        CHECK((got == answer));
    }
}

TEST_CASE("channel: the credentials of a living connection may be dropped by everybody else") {
    auto a = good(mesh().root, alice);
    auto b = good(mesh().root, bob);
    std::weak_ptr<const tls::Credentials> watched = a;
    {
        auto p = pair(std::move(a), std::move(b), {bob.to_string()});
        p.shake();
        rewire(p);
        CHECK(!watched.expired());
        REQUIRE(p.client.seal(noise(10, 1)).has_value());
        CHECK(open_all(p.server, p.to_server).plaintext.size() == 10);
    }
    CHECK(watched.expired());
}
}
