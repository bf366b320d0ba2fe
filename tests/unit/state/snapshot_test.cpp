// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/snapshot.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

using namespace culvert::state;

namespace {

std::string name_of(const WorkloadPtr& workload) {
    return workload ? workload->name : "nobody";
}
std::string name_of(const ServicePtr& service) {
    return service ? service->name : "nobody";
}

Service in_namespace(Service s, const std::string& ns) {
    s.namespace_ = ns;
    return s;
}
Service canonical(Service s) {
    s.canonical = true;
    return s;
}
Service hidden(Service s) {
    s.visible_only_in_namespace = true;
    return s;
}
Service ranges(const std::string& name, std::vector<std::string_view> cidrs) {
    Service s = service(name, {});
    for (auto cidr : cidrs) s.cidr_vips.push_back({"", Cidr::parse(cidr).value()});
    return s;
}

}

TEST_SUITE("state") {

TEST_CASE("snapshot: workloads are found by uid and by each of their addresses") {
    Snapshot mesh{{pod("a", {"10.0.0.1", "fd00::1"}), pod("b", {"10.0.0.2"})}, {}};
    CHECK(name_of(mesh.workload_by_uid("Kubernetes//Pod/bench/a")) == "a");
    CHECK(name_of(mesh.workload_by_uid("Kubernetes//Pod/bench/c")) == "nobody");
    CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.1"))) == "a");
    CHECK(name_of(mesh.workload_by_ip("", ip("fd00::1"))) == "a");
    CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.2"))) == "b");
    CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.3"))) == "nobody");
    CHECK(name_of(mesh.workload_by_ip("other", ip("10.0.0.1"))) == "nobody");
    CHECK(mesh.workloads().size() == 2);
}

TEST_CASE("snapshot: the same address on two networks is two workloads") {
    auto there = with(pod("there", {"10.0.0.1"}), [](Workload& w) { w.network = "far"; });
    Snapshot mesh{{pod("here", {"10.0.0.1"}), there}, {}};
    CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.1"))) == "here");
    CHECK(name_of(mesh.workload_by_ip("far", ip("10.0.0.1"))) == "there");
}

TEST_CASE("snapshot: of those that share an address, a pod comes before others, HBONE before TCP") {
    auto other = [](const std::string& name, Protocol protocol) {
        return with(pod(name, {"10.0.0.1"}, protocol),
                    [&](Workload& w) { w.uid = "Kubernetes/networking/bench/" + name; });
    };
    Workload pod_hbone = pod("pod-hbone", {"10.0.0.1"});
    Workload pod_tcp = pod("pod-tcp", {"10.0.0.1"}, Protocol::tcp);
    Workload other_hbone = other("other-hbone", Protocol::hbone);
    Workload other_tcp = other("other-tcp", Protocol::tcp);
    struct Row {
        std::vector<Workload> workloads;
        std::string winner;
    };
    for (const Row& row :
         {Row{{other_tcp, other_hbone, pod_tcp, pod_hbone}, "pod-hbone"},
          Row{{pod_hbone, pod_tcp, other_hbone, other_tcp}, "pod-hbone"}, Row{{other_hbone, pod_tcp}, "pod-tcp"},
          Row{{pod_tcp, with(pod_tcp, [](Workload& w) { w.name = w.uid = "x//Pod/y"; })}, "pod-tcp"},
          Row{{other_tcp, other_hbone}, "other-hbone"}}) {
        Snapshot mesh{row.workloads, {}};
        CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.1"))) == row.winner);
    }
}

TEST_CASE("snapshot: a host-network workload is found by uid, never by address") {
    auto node_agent = with(pod("agent", {"10.0.0.1"}), [](Workload& w) { w.network_mode = NetworkMode::host_network; });
    Snapshot mesh{{node_agent}, {}};
    CHECK(name_of(mesh.workload_by_ip("", ip("10.0.0.1"))) == "nobody");
    CHECK(name_of(mesh.workload_by_uid(node_agent.uid)) == "agent");
}

TEST_CASE("snapshot: the service that an inbound connection was for is one of the workload's own") {
    Service web = service("web", {}), admin = service("admin", {}, {{9000, 0}, {9001, 9001}});
    Service others = service("others", {}, {{80, 7000}});
    Workload own = serving(serving(pod("own", {"10.0.0.1"}), web), admin, {{9000, 9090}, {9002, 8080}});
    own.status = Health::unhealthy;
    Snapshot mesh{{own, serving(pod("other", {"10.0.0.2"}), others)}, {others, admin, web}};
    struct Row {
        std::string name;
        std::uint16_t port;
        std::string host;
        std::string service;
    };
    for (const Row& row : {
             Row{"a target of a service", 9001, "", "admin"},
             Row{"a target of the workload's own", 9090, "", "admin"},
             Row{"the first of several", 8080, "", "admin"},
             Row{"the one that is named", 8080, web.hostname, "web"},
             Row{"named, whatever the port", 1, web.hostname, "web"},
             Row{"somebody else's", 8080, others.hostname, "admin"},
             Row{"somebody else's port", 7000, "", "nobody"},
             Row{"a service's port, not its target", 80, "", "nobody"},
         }) {
        CAPTURE(row.name);
        CHECK(name_of(mesh.known(own.uid)->service_at(row.port, row.host)) == row.service);
    }
    CHECK(mesh.known("nobody") == nullptr);
}

TEST_CASE("snapshot: which of the services that share a VIP a client sees") {
    const NetworkAddress vip = at("10.1.0.1");
    Service first = in_namespace(service("first", {vip}), "x");
    Service second = in_namespace(service("second", {vip}), "y");
    struct Row {
        std::string name;
        std::vector<Service> services;
        std::string client_namespace;
        std::string seen;
    };
    for (const Row& row : {
             Row{"nothing to choose by", {first, second}, "z", "first"},
             Row{"canonical", {first, canonical(second)}, "z", "second"},
             Row{"own namespace", {first, second}, "y", "second"},
             Row{"own namespace before canonical", {canonical(first), second}, "y", "second"},
             Row{"hidden from others", {hidden(first), second}, "z", "second"},
             Row{"hidden, but it is ours", {hidden(first), second}, "x", "first"},
             Row{"all hidden", {hidden(first), hidden(second)}, "z", "nobody"},
         }) {
        CAPTURE(row.name);
        Snapshot mesh{{}, row.services};
        CHECK(name_of(mesh.service_by_vip("", vip.ip, row.client_namespace)) == row.seen);
    }
}

TEST_CASE("snapshot: VIPs belong to a network, IPv6 ones too") {
    Snapshot mesh{{}, {service("web", {at("10.1.0.1"), at("fd00:1::1"), at("10.1.0.9", "far")})}};
    CHECK(name_of(mesh.service_by_vip("", ip("10.1.0.1"), "bench")) == "web");
    CHECK(name_of(mesh.service_by_vip("", ip("fd00:1::1"), "bench")) == "web");
    CHECK(name_of(mesh.service_by_vip("", ip("10.1.0.9"), "bench")) == "nobody");
    CHECK(name_of(mesh.service_by_vip("far", ip("10.1.0.9"), "bench")) == "web");
}

TEST_CASE("snapshot: which of the services whose ranges hold an address a client sees") {
    Service wide = ranges("wide", {"10.0.0.0/8", "fd00::/16"});
    Service narrow = ranges("narrow", {"10.1.0.0/16"});
    Service exact = service("exact", {at("10.1.0.1")});
    struct Row {
        std::string name;
        std::vector<Service> services;
        std::string address;
        std::string seen;
    };
    for (const Row& row : {
             Row{"in the range", {wide}, "10.9.9.9", "wide"},
             Row{"outside", {wide}, "11.0.0.1", "nobody"},
             Row{"IPv6", {narrow, wide}, "fd00::9", "wide"},
             Row{"longest prefix", {wide, narrow}, "10.1.2.3", "narrow"},
             Row{"longest prefix, other order", {narrow, wide}, "10.1.2.3", "narrow"},
             Row{"own namespace before length", {in_namespace(narrow, "x"), wide}, "10.1.2.3", "wide"},
             Row{"length before canonical", {canonical(wide), narrow}, "10.1.2.3", "narrow"},
             Row{"canonical of two alike",
                 {narrow, canonical(with(narrow, [](Service& s) { s.name = "real"; }))},
                 "10.1.2.3",
                 "real"},
             Row{"nothing to choose by",
                 {narrow, with(narrow, [](Service& s) { s.name = "second"; })},
                 "10.1.2.3",
                 "narrow"},
             Row{"another network",
                 {with(narrow, [](Service& s) { s.cidr_vips[0].network = "far"; }), wide},
                 "10.1.2.3",
                 "wide"},
             Row{"exact before any range", {narrow, in_namespace(exact, "x")}, "10.1.0.1", "exact"},
             Row{"hidden", {hidden(in_namespace(narrow, "x")), wide}, "10.1.2.3", "wide"},
         }) {
        CAPTURE(row.name);
        Snapshot mesh{{}, row.services};
        CHECK(name_of(mesh.service_by_vip("", ip(row.address), "bench")) == row.seen);
    }
}

TEST_CASE("snapshot: what workloads say of themselves is merged into their services") {
    Service web = service("web", {at("10.1.0.1")});
    Workload a = pod("a", {"10.0.0.1"});
    Workload b = serving(pod("b", {"10.0.0.2"}), web, {{80, 9090}});
    Workload c = serving(pod("c", {"10.0.0.3"}), web, {{80, 7070}});
    web.endpoints[a.uid] = {a.uid, {{80, 1010}}};
    web.endpoints[b.uid] = {b.uid, {{80, 2020}}};  // says otherwise: the workload wins
    Snapshot mesh{{a, b, c}, {web}};
    REQUIRE(mesh.services().size() == 1);
    const auto& endpoints = mesh.services()[0]->endpoints;
    REQUIRE(endpoints.size() == 3);
    CHECK(endpoints.at(a.uid).ports == PortMap{{80, 1010}});
    CHECK(endpoints.at(b.uid).ports == PortMap{{80, 9090}});
    CHECK(endpoints.at(c.uid).ports == PortMap{{80, 7070}});
    CHECK(mesh.backends(*mesh.services()[0]).size() == 3);
}

TEST_CASE("snapshot: a workload may name a service that is not there") {
    Snapshot mesh{{serving(pod("a", {"10.0.0.1"}), service("gone", {}))}, {service("web", {})}};
    CHECK(mesh.services()[0]->endpoints.empty());
}

TEST_CASE("snapshot: a backend is an endpoint whose workload is known and healthy, or any if the service says so") {
    struct Row {
        std::string name;
        Health endpoint;
        Health workload;
        HealthPolicy policy;
        std::size_t backends;
    };
    for (const Row& row : {
             Row{"well", Health::healthy, Health::healthy, HealthPolicy::only_healthy, 1},
             Row{"endpoint ill", Health::unhealthy, Health::healthy, HealthPolicy::only_healthy, 0},
             Row{"workload ill", Health::healthy, Health::unhealthy, HealthPolicy::only_healthy, 0},
             Row{"ill, but all are allowed", Health::unhealthy, Health::unhealthy, HealthPolicy::allow_all, 1},
         }) {
        CAPTURE(row.name);
        Workload a = pod("a", {"10.0.0.1"});
        a.status = row.workload;
        Service web = service("web", {at("10.1.0.1")});
        web.load_balancer.health_policy = row.policy;
        web.endpoints[a.uid] = {a.uid, {}, row.endpoint};
        web.endpoints["nobody"] = {"nobody", {}};
        Snapshot mesh{{a}, {web}};
        CHECK(mesh.backends(*mesh.services()[0]).size() == row.backends);
    }
}

TEST_CASE("snapshot: an ill workload that names a service is an ill endpoint") {
    Service web = service("web", {at("10.1.0.1")});
    auto ill = serving(with(pod("a", {"10.0.0.1"}), [](Workload& w) { w.status = Health::unhealthy; }), web);
    Snapshot mesh{{ill}, {web}};
    CHECK(mesh.services()[0]->endpoints.at(ill.uid).status == Health::unhealthy);
    CHECK(mesh.backends(*mesh.services()[0]).empty());
}

}
