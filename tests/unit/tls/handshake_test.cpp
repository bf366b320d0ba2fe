// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>

#include <doctest/doctest.h>

#include "fixtures.hpp"

using namespace fixtures;
using namespace std::chrono_literals;
using culvert::tls::Channel;

namespace {

constexpr unsigned char only_h2[] = {2, 'h', '2'};

const Issuer& mesh() {
    static const Issuer root = Issuer::root("cluster.local");
    return root;
}

bool begins_with(const std::string& text, const char* start) {
    return text.rfind(start, 0) == 0;
}

int take_h2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned, void*) {
    *out = only_h2 + 1;
    *size = 2;
    return SSL_TLSEXT_ERR_OK;
}

const char* cipher_of(const Stranger& stranger) {
    return SSL_get_cipher_name(stranger.ssl.get());
}

}

TEST_SUITE("tls") {
TEST_CASE("handshake: both ends know who the other is") {
    for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20}) {
        CAPTURE(piece);
        auto p = pair(good(mesh(), alice), good(mesh(), bob), {bob.to_string()});
        p.shake(piece);
        CHECK(p.client_error == "");
        CHECK(p.server_error == "");
        REQUIRE(p.client_done);
        REQUIRE(p.server_done);
        CHECK(p.client.peer() == bob);
        CHECK(p.server.peer() == alice);
        CHECK(p.to_client.empty());  // no session tickets
    }
}

TEST_CASE("handshake: the server's name must be one of those expected, as a whole") {
    struct Row {
        const char* what;
        std::vector<std::string> accepted;
        bool good;
    };
    for (const Row& row :
         {Row{"the second of two", {"spiffe://cluster.local/ns/a/sa/b", bob.to_string()}, true},
          Row{"a longer name", {bob.to_string() + "by"}, false},
          Row{"a shorter name", {"spiffe://cluster.local/ns/shop/sa/bo"}, false},
          Row{"other case", {"spiffe://cluster.local/ns/shop/sa/Bob"}, false}, Row{"nobody", {}, false}}) {
        CAPTURE(row.what);
        auto p = pair(good(mesh(), alice), good(mesh(), bob), row.accepted);
        p.shake();
        CHECK(p.client_done == row.good);
        if (row.good) continue;
        std::string expected;
        for (const auto& name : row.accepted) expected += name;
        CHECK(p.client_error == "identity verification error: peer did not present the expected SAN (" + expected +
                                    "), got spiffe://cluster.local/ns/shop/sa/bob");
        CHECK(begins_with(p.server_error, "tls handshake error: "));
        CHECK(p.server_error.find("alert bad certificate") != std::string::npos);
        CHECK(!p.client.peer());
    }
}

TEST_CASE("handshake: a client of another trust domain is refused by name") {
    Identity foreign{"elsewhere.example", "shop", "alice"};
    auto p = pair(good(mesh(), foreign), good(mesh(), bob), {bob.to_string()});
    p.shake();
    CHECK(!p.server_done);
    CHECK(p.server_error ==
          "identity verification error: peer did not present the expected trustdomain (cluster.local), got "
          "spiffe://elsewhere.example/ns/shop/sa/alice");
    // The client was done before the server judged it: the alert comes with the first bytes.
    REQUIRE(p.client_done);
    auto opened = open_all(p.client, p.to_client);
    CHECK(begins_with(opened.error, "tls error: "));
    CHECK(opened.error.find("alert bad certificate") != std::string::npos);
    CHECK(!p.client.peer_closed());
}

TEST_CASE("handshake: a client without any SPIFFE name is refused, and got says so") {
    auto nobody = credentials(leaf(mesh(), {.uris = {"https://example.com/"}}), alice);
    auto p = pair(nobody, good(mesh(), bob), {bob.to_string()});
    p.shake();
    CHECK(p.server_error ==
          "identity verification error: peer did not present the expected trustdomain (cluster.local), got "
          "https://example.com/");
}

TEST_CASE("handshake: a server whose certificate names no trust domain takes any client of its roots") {
    auto server = credentials(leaf(mesh(), {.uris = {"https://gateway.example/"}}), bob);
    Identity foreign{"elsewhere.example", "shop", "alice"};
    auto p = pair(good(mesh(), foreign), server, {"https://gateway.example/"});
    p.shake();
    CHECK(p.server_error == "");
    REQUIRE(p.server_done);
    CHECK(p.server.peer() == foreign);
    CHECK(!p.client.peer());  // a name that is right but no SPIFFE id
}

TEST_CASE("handshake: the peer is the first name that is a SPIFFE id, any of them may match") {
    std::string first = "spiffe://cluster.local/ns/shop/sa/first";
    auto server = leaf(mesh(), {.uris = {"spiffe://not/an/id", first, bob.to_string()}});
    auto p = pair(good(mesh(), alice), credentials(server, {"cluster.local", "shop", "first"}), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    REQUIRE(p.client.peer().has_value());
    CHECK(p.client.peer()->to_string() == first);
}

TEST_CASE("handshake: a name with a NUL inside is not the name before it") {
    std::string trick = bob.to_string() + std::string{"\0.evil", 6};
    auto server = credentials(leaf(mesh(), {.uris = {trick}}), {"cluster.local", "shop", std::string{"bob\0.evil", 9}});
    auto p = pair(good(mesh(), alice), server, {bob.to_string()});
    p.shake();
    CHECK(!p.client_done);
    CHECK(begins_with(p.client_error, "identity verification error: "));
}

TEST_CASE("handshake: certificates that are bad in themselves are refused by either end") {
    Issuer other = Issuer::root("cluster.local");  // the same name, another key
    std::string a = alice.to_string();
    std::string b = bob.to_string();
    struct Row {
        const char* what;
        tls::Pem client, server;
        const char* client_says;
        const char* server_says;
    };
    std::vector<Row> rows;
    rows.push_back({"expired server", leaf(mesh(), {.uris = {a}}), leaf(mesh(), {.uris = {b}, .until = -1s}),
                    "certificate has expired", "certificate expired"});
    rows.push_back({"expired client", leaf(mesh(), {.uris = {a}, .until = -1s}), leaf(mesh(), {.uris = {b}}), "",
                    "certificate has expired"});
    rows.push_back({"server of tomorrow", leaf(mesh(), {.uris = {a}}), leaf(mesh(), {.uris = {b}, .from = 60s}),
                    "certificate is not yet valid", "bad certificate"});
    rows.push_back({"client of tomorrow", leaf(mesh(), {.uris = {a}, .from = 60s}), leaf(mesh(), {.uris = {b}}), "",
                    "certificate is not yet valid"});
    rows.push_back({"server for clients only", leaf(mesh(), {.uris = {a}}),
                    leaf(mesh(), {.uris = {b}, .usages = {NID_client_auth}}), "unsuitable certificate purpose",
                    "unsupported certificate"});
    rows.push_back({"client for servers only", leaf(mesh(), {.uris = {a}, .usages = {NID_server_auth}}),
                    leaf(mesh(), {.uris = {b}}), "", "unsuitable certificate purpose"});
    tls::Pem foreign_server = leaf(other, {.uris = {b}});
    foreign_server.roots = mesh().pem();
    rows.push_back({"server of another root", leaf(mesh(), {.uris = {a}}), foreign_server, "certificate verify failed",
                    "tls handshake error: "});
    tls::Pem foreign_client = leaf(other, {.uris = {a}});
    foreign_client.roots = mesh().pem();
    rows.push_back(
        {"client of another root", foreign_client, leaf(mesh(), {.uris = {b}}), "", "certificate verify failed"});
    for (const Row& row : rows) {
        CAPTURE(row.what);
        auto p = pair(credentials(row.client, alice), credentials(row.server, bob), {b});
        p.shake();
        CAPTURE(p.client_error);
        CAPTURE(p.server_error);
        CHECK(!p.server_done);
        CHECK(begins_with(p.server_error, "tls handshake error: "));
        CHECK(p.server_error.find(row.server_says) != std::string::npos);
        if (*row.client_says == '\0') {
            CHECK(p.client_done);  // TLS 1.3: the client hears of it later
            CHECK(begins_with(open_all(p.client, p.to_client).error, "tls error: "));
        } else {
            CHECK(begins_with(p.client_error, "tls handshake error: certificate verify failed: "));
            CHECK(p.client_error.find(row.client_says) != std::string::npos);
        }
    }
}

TEST_CASE("handshake: istiod's RSA root over EC leaves, and RSA intermediates, are accepted both ways") {
    Issuer root = Issuer::rsa_root("cluster.local");
    Issuer middle = root.intermediate("middle", tls::Key{EVP_RSA_gen(2048)});
    auto with_middle = [&](const Identity& who) {
        tls::Pem pem = leaf(middle, {.uris = {who.to_string()}});
        pem.chain += middle.pem() + root.pem() + root.pem();  // as istiod answers with a plugged-in root
        pem.roots = root.pem();
        return credentials(pem, who);
    };
    for (bool long_client : {false, true}) {
        for (bool long_server : {false, true}) {
            CAPTURE(long_client);
            CAPTURE(long_server);
            auto p = pair(long_client ? with_middle(alice) : good(root, alice),
                          long_server ? with_middle(bob) : good(root, bob), {bob.to_string()});
            p.shake();
            CHECK(p.client_error == "");
            CHECK(p.server_error == "");
            CHECK(p.server_done);
            CHECK(p.server.peer() == alice);
        }
    }
}

TEST_CASE("handshake: leaf and intermediates are sent, the root is not") {
    Issuer root = Issuer::root("cluster.local");
    Issuer middle = root.intermediate("middle");
    auto own = leaf(root, {.uris = {alice.to_string()}});
    for (bool through_middle : {false, true}) {
        tls::Pem pem = leaf(through_middle ? middle : root, {.uris = {bob.to_string()}});
        if (through_middle) pem.chain += middle.pem();
        pem.chain += root.pem();
        pem.roots = root.pem();
        auto server = *Channel::server(credentials(pem, bob));
        Stranger client{TLS_client_method(), &own};
        SSL_CTX_set_alpn_protos(client.ctx.get(), only_h2, sizeof only_h2);
        client.start(true);
        CHECK(client.shake(server) == "");
        CHECK(sk_X509_num(SSL_get_peer_cert_chain(client.ssl.get())) == (through_middle ? 2 : 1));
    }
}

TEST_CASE("handshake: an intermediate in the bundle of roots is trusted without its root") {
    Issuer middle = Issuer::root("unknown").intermediate("middle");
    auto p = pair(good(middle, alice), good(middle, bob), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    CHECK(p.server_error == "");
    CHECK(p.server_done);
}

TEST_CASE("handshake: an intermediate that was not sent is missed") {
    Issuer root = Issuer::root("cluster.local");
    Issuer middle = root.intermediate("middle");
    tls::Pem pem = leaf(middle, {.uris = {bob.to_string()}});
    pem.roots = root.pem();
    auto p = pair(good(root, alice), credentials(pem, bob), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "tls handshake error: certificate verify failed: unable to get local issuer certificate");
}

TEST_CASE("handshake: roots are a bundle, and one that cannot be read does not take the others away") {
    Issuer old_root = Issuer::root("old");
    Issuer new_root = Issuer::root("new");
    std::string broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    tls::Pem client = leaf(old_root, {.uris = {alice.to_string()}});
    client.roots = old_root.pem() + broken + new_root.pem();
    tls::Pem server = leaf(new_root, {.uris = {bob.to_string()}});
    server.roots = client.roots;
    auto p = pair(credentials(client, alice), credentials(server, bob), {bob.to_string()});
    p.shake();
    CHECK(p.client_error == "");
    CHECK(p.server_done);
}

TEST_CASE("handshake: between our own ends the cipher is AES-128-GCM over X25519, in one round trip") {
    auto own = leaf(mesh(), {.uris = {alice.to_string()}});
    auto server = *Channel::server(good(mesh(), bob));
    Stranger client{TLS_client_method(), &own, "X25519:P-256"};
    SSL_CTX_set_alpn_protos(client.ctx.get(), only_h2, sizeof only_h2);
    client.start(true);
    CHECK(client.shake(server) == "");
    CHECK(std::string{cipher_of(client)} == "TLS_AES_128_GCM_SHA256");
    CHECK(server.peer() == alice);

    auto to_client = *Channel::client(good(mesh(), alice), {bob.to_string()});
    auto theirs = leaf(mesh(), {.uris = {bob.to_string()}});
    Stranger server_peer{TLS_server_method(), &theirs};
    SSL_CTX_set_alpn_select_cb(server_peer.ctx.get(), take_h2, nullptr);
    server_peer.start(false);
    CHECK(server_peer.shake(to_client) == "");
    CHECK(std::string{cipher_of(server_peer)} == "TLS_AES_128_GCM_SHA256");
    CHECK(SSL_get_servername(server_peer.ssl.get(), TLSEXT_NAMETYPE_host_name) == nullptr);
}

TEST_CASE("handshake: as server, AES-128-GCM wins against a client that likes AES-256 better; AES-256 alone is taken") {
    struct Row {
        const char* offered;
        const char* taken;
    };
    for (const Row& row : {Row{"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"},
                           Row{"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"}}) {
        auto own = leaf(mesh(), {.uris = {alice.to_string()}});
        auto server = *Channel::server(good(mesh(), bob));
        Stranger client{TLS_client_method(), &own};
        SSL_CTX_set_alpn_protos(client.ctx.get(), only_h2, sizeof only_h2);
        SSL_CTX_set_ciphersuites(client.ctx.get(), row.offered);
        client.start(true);
        CHECK(client.shake(server) == "");
        CHECK(std::string{cipher_of(client)} == row.taken);
    }
}

TEST_CASE("handshake: the group that the client sent a share for is taken, whatever our order") {
    // A client sends a share for the first of its list. With a retry the group would be X25519, our first.
    constexpr int hybrid = 0x11ec;  // X25519MLKEM768, in OpenSSL 3.5; last in ztunnel's list
    struct Row {
        const char* groups;
        int taken;
    };
    auto own = leaf(mesh(), {.uris = {alice.to_string()}});
    for (const Row& row : {Row{"P-256:X25519", NID_X9_62_prime256v1}, Row{"P-384:X25519:P-256", NID_secp384r1},
                           Row{"X25519:P-256", NID_X25519}, Row{"X25519:P-256:P-384:X25519MLKEM768", NID_X25519},
                           Row{"X25519MLKEM768:X25519", hybrid}, Row{"X25519MLKEM768", hybrid}}) {
        CAPTURE(row.groups);
        auto server = *Channel::server(good(mesh(), bob));
        Stranger client{TLS_client_method(), &own, ""};
        if (SSL_CTX_set1_groups_list(client.ctx.get(), row.groups) != 1) continue;  // an OpenSSL without the hybrid
        SSL_CTX_set_alpn_protos(client.ctx.get(), only_h2, sizeof only_h2);
        client.start(true);
        CHECK(client.shake(server) == "");
        CHECK((SSL_get_negotiated_group(client.ssl.get()) & 0xffff) == row.taken);
    }
}

TEST_CASE("handshake: strangers are refused for what they lack") {
    auto own = leaf(mesh(), {.uris = {alice.to_string()}});
    struct Row {
        const char* what;
        int highest;
        const char* alpn;
        bool certificate;
        const char* suites;
        const char* says;
    };
    for (const Row& row :
         {Row{"TLS 1.2", TLS1_2_VERSION, "\x02h2", true, nullptr, "unsupported protocol"},
          Row{"no ALPN at all", 0, nullptr, true, nullptr, "peer did not agree on h2 (ALPN)"},
          Row{"only http/1.1", 0, "\x08http/1.1", true, nullptr, "no application protocol"},
          Row{"no certificate", 0, "\x02h2", false, nullptr, "peer did not return a certificate"},
          Row{"only ChaCha20", 0, "\x02h2", true, "TLS_CHACHA20_POLY1305_SHA256", "no shared cipher"}}) {
        CAPTURE(row.what);
        auto server = *Channel::server(good(mesh(), bob));
        Stranger client{TLS_client_method(), row.certificate ? &own : nullptr};
        if (row.highest) SSL_CTX_set_max_proto_version(client.ctx.get(), row.highest);
        if (row.alpn)
            SSL_CTX_set_alpn_protos(client.ctx.get(), reinterpret_cast<const unsigned char*>(row.alpn),
                                    static_cast<unsigned>(std::string_view{row.alpn}.size()));
        if (row.suites) SSL_CTX_set_ciphersuites(client.ctx.get(), row.suites);
        client.start(true);
        CHECK(client.shake(server) == std::string{"tls handshake error: "} + row.says);
        // It was told: an alert is waiting.
        std::byte byte;
        ERR_clear_error();
        int n = SSL_read(client.ssl.get(), &byte, 1);
        CHECK(SSL_get_error(client.ssl.get(), n) == SSL_ERROR_SSL);
        ERR_clear_error();
    }
}

TEST_CASE("handshake: a server that does not choose h2 is refused") {
    auto theirs = leaf(mesh(), {.uris = {bob.to_string()}});
    auto client = *Channel::client(good(mesh(), alice), {bob.to_string()});
    Stranger server{TLS_server_method(), &theirs};
    server.start(false);
    CHECK(server.shake(client) == "tls handshake error: peer did not agree on h2 (ALPN)");
}

TEST_CASE("handshake: garbage is an error in words, not a crash") {
    auto credentials_of_bob = good(mesh(), bob);
    struct Row {
        const char* what;
        std::string bytes;
    };
    for (const Row& row : {Row{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, Row{"zeros", std::string(200, '\0')},
                           Row{"a huge record", std::string{"\x16\x03\x01\xff\xff", 5} + std::string(70000, 'x')}}) {
        CAPTURE(row.what);
        auto server = *Channel::server(credentials_of_bob);
        Output output;
        server.write_to(output);
        server.receive(std::as_bytes(std::span{row.bytes}));
        auto result = server.handshake();
        REQUIRE(!result.has_value());
        CHECK(begins_with(result.error().to_string(), "tls handshake error: "));
        auto again = server.handshake();
        REQUIRE(!again.has_value());
        CHECK(again.error().to_string() == result.error().to_string());
        CHECK(ERR_peek_error() == 0);
    }
}

TEST_CASE(
    "handshake: any flipped byte of the first flights is an error, never a crash or a success with another peer") {
    auto a = good(mesh(), alice);
    auto b = good(mesh(), bob);
    std::size_t flights = 0;
    {
        auto p = pair(a, b, {bob.to_string()});
        p.client.write_to(p.to_server);
        CHECK(p.client.handshake().has_value());
        flights = p.to_server.size();
    }
    // From 3 on: nobody looks at the record's version before that.
    for (std::size_t at = 3; at < flights; ++at) {
        auto p = pair(a, b, {bob.to_string()});
        p.client.write_to(p.to_server);
        REQUIRE(p.client.handshake().has_value());
        p.to_server[at] ^= std::byte{0x55};
        p.shake();
        CHECK(!(p.client_done && p.server_done));
    }
    CHECK(ERR_peek_error() == 0);
}
}
