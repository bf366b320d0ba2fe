// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "world.hpp"

using namespace culvert::state;

TEST_SUITE("state") {

TEST_CASE("identity: a SPIFFE id and back") {
    auto parsed = Identity::parse("spiffe://cluster.local/ns/bench/sa/client");
    REQUIRE(parsed.has_value());
    CHECK(*parsed == Identity{"cluster.local", "bench", "client"});
    CHECK(parsed->to_string() == "spiffe://cluster.local/ns/bench/sa/client");
}

TEST_CASE("identity: empty parts are accepted, as ztunnel does") {
    auto parsed = Identity::parse("spiffe:///ns//sa/");
    REQUIRE(parsed.has_value());
    CHECK(*parsed == Identity{});
    CHECK(parsed->to_string() == "spiffe:///ns//sa/");
}

TEST_CASE("identity: what has not exactly five parts of that shape is none") {
    for (std::string text :
         {"", "spiffe://", "spiffe://td", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/b/", "spiffe://td/ns/a/sa/b/c",
          "spiffe://td/sa/a/ns/b", "spiffe://td/ns/a/xx/b", "SPIFFE://td/ns/a/sa/b", "https://td/ns/a/sa/b",
          "td/ns/a/sa/b", " spiffe://td/ns/a/sa/b"}) {
        CAPTURE(text);
        CHECK_FALSE(Identity::parse(text).has_value());
    }
}

TEST_CASE("identity: a workload's is made of its three labels") {
    CHECK(pod("c1", {}).identity().to_string() == "spiffe://cluster.local/ns/bench/sa/c1");
}

TEST_CASE("cidr: which addresses it holds") {
    struct Row {
        std::string range;
        std::string address;
        bool inside;
    };
    for (const Row& row : {
             Row{"10.0.0.0/8", "10.255.0.1", true},
             Row{"10.0.0.0/8", "11.0.0.0", false},
             Row{"10.1.2.0/23", "10.1.3.255", true},
             Row{"10.1.2.0/23", "10.1.4.0", false},
             Row{"10.1.2.3", "10.1.2.3", true},
             Row{"10.1.2.3", "10.1.2.2", false},
             Row{"10.1.2.3/24", "10.1.2.200", true},
             Row{"0.0.0.0/0", "255.255.255.255", true},
             Row{"0.0.0.0/0", "fd00::1", false},
             Row{"fd00::/8", "fdff::1", true},
             Row{"fd00::/8", "fe00::1", false},
             Row{"fd00::/127", "fd00::1", true},
             Row{"fd00::/127", "fd00::2", false},
             Row{"fd00::1/128", "fd00::1", true},
             Row{"::/0", "fd00::1", true},
             Row{"::/0", "10.0.0.1", false},
             Row{"2001:db8:8000::/33", "2001:db8:8001::", true},
             Row{"2001:db8:8000::/33", "2001:db8:7fff::", false},
         }) {
        CAPTURE(row.range);
        CAPTURE(row.address);
        auto cidr = Cidr::parse(row.range);
        REQUIRE(cidr.has_value());
        CHECK(cidr->contains(ip(row.address)) == row.inside);
    }
}

TEST_CASE("cidr: text and back, and what is none") {
    CHECK(Cidr::parse("10.0.0.0/8")->to_string() == "10.0.0.0/8");
    CHECK(Cidr::parse("10.0.0.1")->to_string() == "10.0.0.1/32");
    CHECK(Cidr::parse("fd00::")->to_string() == "fd00::/128");
    for (std::string text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8",
                             "fd00::/129", "10.0.0.0/8/8", "10.0.0.0/ 8"}) {
        CAPTURE(text);
        CHECK_FALSE(Cidr::parse(text).has_value());
    }
}

TEST_CASE("workload: words are those of ztunnel's files") {
    CHECK(to_string(Protocol::tcp) == "TCP");
    CHECK(to_string(Protocol::hbone) == "HBONE");
    CHECK(to_string(NetworkMode::standard) == "Standard");
    CHECK(to_string(NetworkMode::host_network) == "HostNetwork");
    CHECK(to_string(Health::healthy) == "Healthy");
    CHECK(to_string(Health::unhealthy) == "Unhealthy");
    CHECK(to_string(IpFamilies::dual) == "Dual");
    CHECK(to_string(Scope::subzone) == "Subzone");
    CHECK(to_string(BalanceMode::failover) == "Failover");
    CHECK(to_string(HealthPolicy::allow_all) == "AllowAll");
}

}
