// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/address.hpp>

#include <doctest/doctest.h>

using namespace culvert::base;

TEST_SUITE("base") {

TEST_CASE("address: text and back, in the form the logs show") {
    for (const char* text : {"10.0.0.7:80", "[fd00::7]:15008", "0.0.0.0:0", "[::]:1"}) {
        CAPTURE(text);
        auto parsed = SocketAddress::parse(text);
        REQUIRE(parsed);
        CHECK(parsed->to_string() == text);
    }
}

TEST_CASE("address: what is not an address is refused") {
    for (const char* text : {"", ":80", "10.0.0.7", "10.0.0.7:", "10.0.0.7:65536", "10.0.0.7:-1", "10.0.0.7:80x",
                             "fd00::7:80", "[10.0.0.7]:80", "[fd00::7]", "example.com:80", "10.0.0:80"}) {
        CAPTURE(text);
        CHECK_FALSE(SocketAddress::parse(text));
    }
}

TEST_CASE("address: a v4-mapped peer is an IPv4 peer") {
    sockaddr_storage raw;
    auto v4 = *SocketAddress::parse("10.0.0.7:80");
    CHECK(IpAddress::parse("::ffff:10.0.0.7") == v4.ip);
    CHECK(v4.ip.family() == AF_INET);
    v4.to(raw);
    CHECK(raw.ss_family == AF_INET);
    CHECK(SocketAddress::from(raw) == v4);
}

TEST_CASE("address: the network of an IPv6 address is its /64, and an IPv4 address has none") {
    auto network = [](const char* text) { return IpAddress::parse(text)->network().to_string(); };
    CHECK(network("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::");
    CHECK(network("2001:db8:1:2::") == "2001:db8:1:2::");
    CHECK(network("10.0.0.7") == "10.0.0.7");
    CHECK(network("::ffff:10.0.0.7") == "10.0.0.7");
}

TEST_CASE("address: loopback is 127/8 and ::1, and nothing else") {
    CHECK(IpAddress::parse("127.0.0.1")->is_loopback());
    CHECK(IpAddress::parse("127.9.9.9")->is_loopback());
    CHECK(IpAddress::parse("::1")->is_loopback());
    CHECK_FALSE(IpAddress::parse("128.0.0.1")->is_loopback());
    CHECK_FALSE(IpAddress::parse("::2")->is_loopback());
}

}
