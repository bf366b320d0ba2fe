// SPDX-License-Identifier: Apache-2.0
#include <ca/messages.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace culvert;
using namespace std::chrono_literals;
using namespace std::string_literals;
using grpc::Code;
using grpc::Origin;

namespace {

const state::Identity alice{"cluster.local", "shop", "alice"};

// A field whose length is one byte.
std::string field(int number, const std::string& bytes) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

grpc::Target istiod() {
    return {.address = "https://istiod:15012", .token = grpc::TokenFile{"/token"}, .cluster_id = "east"};
}

std::string words(Code code, const std::string& message, Origin origin) {
    return ca::failure({.code = code, .message = message, .origin = origin}, istiod(), alice).to_string();
}

}

TEST_SUITE("ca") {
TEST_CASE("request: the CSR, the seconds, and whom we ask for where that is not ourselves") {
    const std::string plain = field(1, "CSR") + "\x18\x80\xa3\x05"s;  // 86400
    CHECK(ca::request_bytes("CSR", 24h, nullptr) == plain);
    const std::string value = field(3, "spiffe://cluster.local/ns/shop/sa/alice");
    const std::string entry = field(1, "ImpersonatedIdentity") + field(2, value);
    CHECK(ca::request_bytes("CSR", 24h, &alice) == plain + field(4, field(1, entry)));
}

TEST_CASE("response: the chain, in order") {
    auto chain = ca::chain_of(field(1, "leaf") + field(1, "root"));
    REQUIRE(chain.has_value());
    CHECK(*chain == std::vector{"leaf"s, "root"s});
    CHECK(ca::chain_of("")->empty());
    auto broken = ca::chain_of("\x0a\x7fno");
    REQUIRE(!broken.has_value());
    CHECK(broken.error().to_string() == "the CA's answer of 4 bytes cannot be read");
}

TEST_CASE("failure: says who said no, and what to look at") {
    CHECK(words(Code::unauthenticated, "request impersonation authentication failure", Origin::server) ==
          "the CA at https://istiod:15012: Unauthenticated: request impersonation authentication failure; may this "
          "node's service account ask for others (CA_TRUSTED_NODE_ACCOUNTS of istiod), and does istiod know a pod of "
          "shop/alice on this node? It is a moment behind with new pods");
    CHECK(
        words(Code::unauthenticated, "request authenticate failure", Origin::server) ==
        "the CA at https://istiod:15012: Unauthenticated: request authenticate failure; it refused our token (the one "
        "in /token): that must be fresh and of the audience istio-ca, and \"east\" a cluster that istiod knows");
    CHECK(
        words(Code::unavailable, "connect to 10.0.0.1:15012: Connection refused (os error 111)", Origin::connecting) ==
        "the CA at https://istiod:15012: Unavailable: connect to 10.0.0.1:15012: "
        "Connection refused (os error 111); is istiod running?");
    CHECK(words(Code::deadline_exceeded, "no answer within 10000 ms", Origin::us) ==
          "the CA at https://istiod:15012: DeadlineExceeded: no answer within 10000 ms; is istiod overloaded?");
    CHECK(words(Code::internal, "certificate signing error", Origin::server) ==
          "the CA at https://istiod:15012: Internal: certificate signing error");
}
}
