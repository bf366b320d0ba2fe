// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <culvert/state/exclusions.hpp>

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

TEST_CASE("exclusions: as an operator reads them") {
    auto range = [](const char* text) { return *Cidr::parse(text); };
    struct Row {
        Exclusions exclusions;
        std::string text;
    };
    for (const Row& row : {
             Row{{}, "nothing bypasses the mesh"},
             Row{{.outbound_ports = {3306}}, "outbound port 3306 bypasses the mesh"},
             Row{{.inbound_ports = {9100}}, "inbound port 9100 bypasses the mesh"},
             Row{{.outbound_cidrs = {range("fd00::/8")}}, "outbound fd00::/8 bypasses the mesh"},
             Row{{.outbound_ports = {80}, .inbound_ports = {80, 81}},
                 "outbound port 80 and inbound ports 80, 81 bypass the mesh"},
             Row{{{3306, 27017}, {range("10.9.0.0/16")}, {9100}},
                 "outbound ports 3306, 27017 and 10.9.0.0/16 and inbound port 9100 bypass the mesh"},
         })
        CHECK(row.exclusions.to_string() == row.text);
}

TEST_CASE("exclusions: two of them are the union, in order") {
    Exclusions all{{27017, 80}, {*Cidr::parse("10.9.0.0/16")}, {}};
    all.add({{80, 443}, {*Cidr::parse("10.9.0.0/16"), *Cidr::parse("10.8.0.0/16")}, {9100}});
    CHECK(all == Exclusions{{80, 443, 27017}, {*Cidr::parse("10.8.0.0/16"), *Cidr::parse("10.9.0.0/16")}, {9100}});
}

TEST_CASE("cidr: its network has no host bits") {
    for (auto [range, network] : {std::pair{"10.9.255.255/16", "10.9.0.0"}, std::pair{"10.9.8.7/31", "10.9.8.6"},
                                  std::pair{"10.9.8.7/32", "10.9.8.7"}, std::pair{"255.1.1.1/0", "0.0.0.0"},
                                  std::pair{"fd00::ffff/120", "fd00::ff00"},
                                  std::pair{"fd00:ffff::1/17", "fd00:8000::"}, std::pair{"ffff::1/0", "::"}})
        CHECK(Cidr::parse(range)->network().to_string() == network);
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
    CHECK(Cidr::parse("::ffff:10.0.0.0/104")->to_string() == "10.0.0.0/8");
    CHECK(Cidr::parse("::ffff:10.0.0.1")->to_string() == "10.0.0.1/32");
    for (std::string text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8",
                             "fd00::/129", "10.0.0.0/8/8", "10.0.0.0/ 8", "::ffff:10.0.0.0/8", "::ffff:10.0.0.0/129"}) {
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
