// SPDX-License-Identifier: Apache-2.0
#include <culvert/dns/names.hpp>

#include <doctest/doctest.h>

#include <algorithm>

#include <dns/aliases.hpp>

using namespace culvert;
using namespace culvert::dns;

namespace {

base::IpAddress ip(std::string_view text) {
    return base::IpAddress::parse(text).value();
}

// A service of the outside world: its name is its host name.
state::Service external(const std::string& hostname, std::vector<std::string_view> vips, std::string ns = "ns1") {
    state::Service service;
    service.name = hostname;
    service.namespace_ = std::move(ns);
    service.hostname = hostname;
    for (auto vip : vips) service.vips.push_back({"nw1", ip(vip)});
    return service;
}

state::Service kubernetes(const std::string& name, const std::string& ns, std::vector<std::string_view> vips) {
    state::Service service = external(name, std::move(vips), ns);
    service.hostname = name + "." + ns + ".svc.cluster.local";
    return service;
}

state::Service canonical(state::Service service) {
    service.canonical = true;
    return service;
}

state::Workload pod(const std::string& name, const std::string& service, std::vector<std::string_view> ips) {
    state::Workload workload;
    workload.name = name;
    workload.namespace_ = "ns1";
    workload.uid = "Kubernetes//Pod/ns1/" + name;
    workload.network = "nw1";
    workload.cluster_id = "Kubernetes";
    for (auto one : ips) workload.ips.push_back(ip(one));
    if (!service.empty()) workload.services[{"ns1", service}] = {{80, 80}};
    return workload;
}

std::vector<state::Service> services() {
    auto hidden = external("hidden.io", {"10.9.9.1"}, "ns2");
    hidden.visible_only_in_namespace = true;
    auto ours = external("ours.io", {"10.9.9.2"});
    ours.visible_only_in_namespace = true;
    auto far_only = kubernetes("far-only", "ns1", {});
    far_only.vips = {{"nw2", ip("20.20.20.20")}};
    auto both_networks = kubernetes("both-networks", "ns1", {"21.21.21.21"});
    both_networks.vips.push_back({"nw2", ip("22.22.22.22")});
    auto headless6 = kubernetes("headless-ipv6", "ns1", {});
    headless6.ip_families = state::IpFamilies::ipv6;
    auto not_ready = kubernetes("not-ready", "ns1", {});
    not_ready.load_balancer.health_policy = state::HealthPolicy::allow_all;
    auto far_cluster = kubernetes("details", "ns2", {"11.11.11.11", "12.12.12.12"});
    far_cluster.hostname = "details.ns2.svc.cluster.remote";
    return {external("www.google.com", {"1.1.1.1"}),
            external("MIXED.example", {"1.2.3.4"}),
            kubernetes("productpage", "ns1", {"9.9.9.9"}),
            kubernetes("example", "ns2", {"10.10.10.10"}),
            external("everywhere.io", {"10.10.10.110"}, "ns2"),
            external("preferred.io", {"10.10.10.210"}, "ns2"),
            external("everywhere.io", {"10.10.10.111"}, "preferred"),
            external("preferred.io", {"10.10.10.211"}, "preferred"),
            external("everywhere.io", {"10.10.10.112"}, "ns1"),
            external("canonical.svc", {"10.10.10.140"}, "ns2"),
            canonical(external("canonical.svc", {"10.10.10.141"}, "ns3")),
            canonical(external("canonical.preferred", {"10.10.10.142"}, "ns3")),
            external("canonical.preferred", {"10.10.10.143"}, "preferred"),
            external("canonical.with.local", {"10.10.10.150"}, "ns1"),
            canonical(external("canonical.with.local", {"10.10.10.151"}, "ns2")),
            external("first.io", {"10.10.10.160"}, "ns2"),
            external("first.io", {"10.10.10.161"}, "ns3"),
            far_cluster,
            external("ipv4.localhost", {"2.2.2.2"}),
            external("ipv6.localhost", {"2001:db8::8329"}),
            external("dual.localhost", {"2.2.2.2", "2001:db8::8329"}),
            external("*.wildcard", {"10.10.10.10"}),
            external("*.b.wildcard", {"11.11.11.11"}),
            external("*.svc.mesh.company.net", {"10.1.2.3"}),
            far_only,
            both_networks,
            kubernetes("headless", "ns1", {}),
            headless6,
            not_ready,
            external("headless.example.com", {}),
            external("empty.example.com", {}),
            kubernetes("empty", "ns1", {}),
            hidden,
            ours};
}

std::vector<state::Workload> workloads() {
    auto sick = pod("sick", "not-ready.ns1.svc.cluster.local", {"34.34.34.34"});
    sick.status = state::Health::unhealthy;
    auto sick_too = pod("sick-too", "headless.ns1.svc.cluster.local", {"35.35.35.35"});
    sick_too.status = state::Health::unhealthy;
    auto far = pod("web-0", "headless.ns1.svc.cluster.local", {"36.36.36.36"});
    far.uid = "far//Pod/ns1/web-0";
    far.cluster_id = "far";
    return {pod("client", "", {"10.0.0.1"}),
            far,
            pod("web-0", "headless.ns1.svc.cluster.local", {"30.30.30.30", "2001:db8::30"}),
            pod("web-1", "headless.ns1.svc.cluster.local", {"31.31.31.31", "31.31.31.32", "2001:db8::31"}),
            pod("outside", "headless.example.com", {"32.32.32.32"}),
            pod("six", "headless-ipv6.ns1.svc.cluster.local", {"33.33.33.33", "2001:db8::33"}),
            sick,
            sick_too};
}

const Names& names(bool ipv6 = true) {
    static const auto mesh = std::make_shared<const state::Snapshot>(workloads(), services());
    static const Names with{mesh, {"cluster.local", "preferred", true}};
    static const Names without{mesh, {"cluster.local", "preferred", false}};
    return ipv6 ? with : without;
}

// "forwarded", or the addresses in order, and "via N" labels where there is a CNAME.
std::string ask(std::string_view name, std::uint16_t type = type_a, bool ipv6 = true) {
    Random random{1};
    auto client = names().mesh().workload_by_uid("Kubernetes//Pod/ns1/client");
    REQUIRE(client);
    auto answer = names(ipv6).find(*client, name, type, random);
    if (!answer) return "forwarded";
    std::sort(answer->addresses.begin(), answer->addresses.end());
    std::string text;
    for (const auto& one : answer->addresses) text += (text.empty() ? "" : " ") + one.to_string();
    if (text.empty()) return "nothing";
    if (answer->canonical_labels > 0) text += " via " + std::to_string(answer->canonical_labels);
    return text;
}

std::vector<std::string> completed(std::string_view name) {
    std::vector<std::string> all;
    for (const Alias& alias : aliases_of(name, "ns1", "cluster.local"))
        all.push_back(alias.name + (alias.stripped_to ? " " + std::to_string(alias.stripped_to) : ""));
    return all;
}

}

TEST_SUITE("dns") {

TEST_CASE("names: what a name may stand for, in the order to try") {
    using All = std::vector<std::string>;
    CHECK(completed("name") == All{"name", "name.ns1.svc.cluster.local"});
    CHECK(completed("name.ns2") == All{"name.ns2", "name.ns2.svc.cluster.local", "name.ns2.ns1.svc.cluster.local"});
    CHECK(completed("name.ns2.svc") ==
          All{"name.ns2.svc", "name.ns2.svc.cluster.local", "name.ns2.svc.svc.cluster.local"});
    CHECK(completed("name.ns2.other") == All{"name.ns2.other", "name.ns2.other.svc.cluster.local"});
    CHECK(completed("pod.sub.ns.svc") == All{"pod.sub.ns.svc", "pod.sub.ns.svc.cluster.local"});
    CHECK(completed("pod.sub.ns.other") == All{"pod.sub.ns.other"});
    CHECK(completed("name.ns2.svc.cluster") == All{"name.ns2.svc.cluster"});
    CHECK(completed("www.google.com.ns1.svc.cluster.local") ==
          All{"www.google.com.ns1.svc.cluster.local", "www.google.com 3", "www.google.com.svc.cluster.local 3",
              "www.google.com.ns1 4", "www.google.com.ns1.svc 5"});
    CHECK(completed("a.ns1.svc.cluster.local") == All{"a.ns1.svc.cluster.local", "a 1", "a.ns1 2",
                                                      "a.ns1.ns1.svc.cluster.local 2", "a.ns1.svc 3",
                                                      "a.ns1.svc.svc.cluster.local 3"});
    CHECK(completed("cluster.local") ==
          All{"cluster.local", "cluster.local.svc.cluster.local", "cluster.local.ns1.svc.cluster.local"});
    CHECK(completed("xcluster.local").front() == "xcluster.local");
}

TEST_CASE("names: answers") {
    struct Row {
        const char* name;
        const char* answer;
        std::uint16_t type = type_a;
    };
    for (const Row& row : {
             Row{"www.google.com", "1.1.1.1"},
             Row{"mixed.example", "1.2.3.4"},
             Row{"www.google.com.ns1.svc.cluster.local", "1.1.1.1 via 3"},
             Row{"www.google.com.svc.cluster.local", "1.1.1.1 via 3"},
             Row{"www.google.com.cluster.local", "1.1.1.1 via 3"},
             Row{"www.bing.com", "forwarded"},
             Row{"productpage.ns1.svc.cluster.local", "9.9.9.9"},
             Row{"productpage.ns1.svc", "9.9.9.9"},
             Row{"productpage.ns1", "9.9.9.9"},
             Row{"productpage", "9.9.9.9"},
             Row{"productpage.ns1.ns1.svc.cluster.local", "9.9.9.9 via 2"},
             Row{"productpage.ns1.ns1.svc.cluster.local", "nothing", type_aaaa},
             Row{"example.ns2", "10.10.10.10"},
             Row{"example.ns2.svc", "10.10.10.10"},
             Row{"example.ns2.svc.cluster.local", "10.10.10.10"},
             Row{"example", "forwarded"},
             Row{"details.ns2.svc.cluster.remote", "11.11.11.11 12.12.12.12"},
             Row{"details.ns2", "forwarded"},
             Row{"dual.localhost", "2.2.2.2"},
             Row{"dual.localhost", "2001:db8::8329", type_aaaa},
             Row{"ipv6.localhost", "nothing"},
             Row{"ipv4.localhost", "nothing", type_aaaa},
             Row{"foo.wildcard", "10.10.10.10"},
             Row{"wildcard", "forwarded"},
             Row{"a.b.wildcard", "11.11.11.11"},
             Row{"b.wildcard", "10.10.10.10"},
             Row{"foo.svc.mesh.company.net", "10.1.2.3"},
             Row{"foo.foons.svc.mesh.company.net", "10.1.2.3"},
             Row{"foo.svc.mesh.company.net.ns1.svc.cluster.local", "10.1.2.3"},
             Row{"far-only.ns1.svc.cluster.local", "nothing"},
             Row{"both-networks.ns1.svc.cluster.local", "21.21.21.21"},
             Row{"headless.ns1.svc.cluster.local", "30.30.30.30 31.31.31.31 36.36.36.36"},
             Row{"headless", "2001:db8::30 2001:db8::31", type_aaaa},
             Row{"headless-ipv6.ns1.svc.cluster.local", "2001:db8::33", type_aaaa},
             Row{"headless-ipv6.ns1.svc.cluster.local", "nothing"},
             Row{"empty.ns1.svc.cluster.local", "nothing"},
             Row{"not-ready", "34.34.34.34"},
             Row{"headless.example.com", "forwarded"},
             Row{"empty.example.com", "forwarded"},
             Row{"preferred.io", "10.10.10.211"},
             Row{"everywhere.io", "10.10.10.112"},
             Row{"canonical.svc", "10.10.10.141"},
             Row{"canonical.preferred", "10.10.10.142"},
             Row{"canonical.with.local", "10.10.10.150"},
             Row{"first.io", "10.10.10.160"},
             Row{"hidden.io", "forwarded"},
             Row{"ours.io", "10.9.9.2"},
         }) {
        CAPTURE(row.name);
        CAPTURE(row.type);
        CHECK(ask(row.name, row.type) == row.answer);
    }
}

TEST_CASE("names: pods of headless services have names, the client's cluster first") {
    CHECK(ask("web-0.headless.ns1.svc.cluster.local") == "30.30.30.30");
    CHECK(ask("web-0.headless.ns1.svc.cluster.local", type_aaaa) == "2001:db8::30");
    CHECK(ask("web-1.headless.ns1.svc") == "31.31.31.31 31.31.31.32");
    CHECK(ask("web-1.headless.ns1") == "31.31.31.31 31.31.31.32");
    CHECK(ask("web-1.headless") == "31.31.31.31 31.31.31.32");
    CHECK(ask("web-1.headless.ns1.svc.cluster.local.ns1.svc.cluster.local") == "31.31.31.31 31.31.31.32 via 6");
    CHECK(ask("sick-too.headless.ns1.svc.cluster.local") == "forwarded");
    CHECK(ask("web-2.headless.ns1.svc.cluster.local") == "forwarded");
    CHECK(ask("web-1.productpage.ns1.svc.cluster.local") == "forwarded");
    CHECK(ask("a.web-1.headless.ns1.svc.cluster.local") == "forwarded");
}

TEST_CASE("names: without IPv6, names are known and have no AAAA") {
    CHECK(ask("dual.localhost", type_aaaa, false) == "nothing");
    CHECK(ask("dual.localhost", type_a, false) == "2.2.2.2");
    CHECK(ask("www.bing.com", type_aaaa, false) == "forwarded");
}

TEST_CASE("names: the order of addresses is random") {
    auto service = external("many.io", {});
    for (int i = 1; i < 30; ++i) service.vips.push_back({"nw1", ip("10.0.0." + std::to_string(i))});
    Names many{std::make_shared<const state::Snapshot>(std::vector<state::Workload>{pod("client", "", {"10.1.0.1"})},
                                                       std::vector<state::Service>{service}),
               {}};
    Random random{7};
    auto client = many.mesh().workload_by_uid("Kubernetes//Pod/ns1/client");
    auto first = many.find(*client, "many.io", type_a, random), second = many.find(*client, "many.io", type_a, random);
    REQUIRE((first && second));
    CHECK(first->addresses != second->addresses);
}

}
