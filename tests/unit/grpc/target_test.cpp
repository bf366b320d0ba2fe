// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/target.hpp>

#include <doctest/doctest.h>

using namespace culvert::grpc;

TEST_SUITE("grpc") {

TEST_CASE("target: an address has a host, and else what is usual") {
    struct Row {
        const char* address;
        bool tls;
        const char* host;
        int port;
        const char* authority;
    };
    for (const Row& row : {Row{"https://istiod.istio-system.svc:15012", true, "istiod.istio-system.svc", 15012,
                               "istiod.istio-system.svc:15012"},
                           Row{"istiod:15012", true, "istiod", 15012, "istiod:15012"},
                           Row{"http://10.0.0.7:15010/", false, "10.0.0.7", 15010, "10.0.0.7:15010"},
                           Row{"https://[fd00::7]:15012", true, "fd00::7", 15012, "[fd00::7]:15012"},
                           Row{"https://[fd00::7]", true, "fd00::7", 443, "[fd00::7]:443"},
                           Row{"http://istiod", false, "istiod", 80, "istiod:80"}}) {
        CAPTURE(row.address);
        auto endpoint = endpoint_of(row.address);
        REQUIRE(endpoint.has_value());
        CHECK(endpoint->tls == row.tls);
        CHECK(endpoint->host == row.host);
        CHECK(endpoint->port == row.port);
        CHECK(endpoint->authority() == row.authority);
    }
}

TEST_CASE("target: what is no address is refused with what to write") {
    for (const char* bad :
         {"", "https://", "unix:///run/x", "ftp://a:1", "https://a:1/path", "a:", "a:0", "a:65536", "a:1x", "a:b:1",
          "fd00::7", "[fd00::7", "[fd00::7]x", "a b:1", "a@b:1", "https://user:pw@host:1"}) {
        CAPTURE(bad);
        auto endpoint = endpoint_of(bad);
        REQUIRE(!endpoint.has_value());
        CHECK(endpoint.error().to_string().find("write https://host:port") != std::string::npos);
    }
}

}
