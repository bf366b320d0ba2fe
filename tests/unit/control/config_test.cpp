// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/config.hpp>

#include <doctest/doctest.h>

#include "good_file.hpp"

using namespace culvert;
using namespace culvert::control;
using namespace std::chrono_literals;

TEST_SUITE("control") {

TEST_CASE("config: every key of a full file lands where it belongs") {
    auto loaded = parse_config(good_file, "f.yaml");
    REQUIRE_MESSAGE(loaded.has_value(), loaded.error().to_string());
    const Config& c = *loaded;
    CHECK(c.node == NodeSettings{"node1", "net1", "west", "example.org"});
    CHECK(c.capture == CaptureMode::ebpf);
    CHECK(c.ca == CaSettings{"/tmp/ca", "", "", "/tmp/crl.pem", 90s});
    CHECK(c.log == LogSettings{base::log::Level::debug, base::log::Format::json, "/var/log/access.log"});
    CHECK(c.workers == 2);
    CHECK(c.shutdown_deadline == 100ms);
    REQUIRE(c.doors.metrics.has_value());
    CHECK(c.doors.metrics->to_string() == "127.0.0.1:1");
    CHECK_FALSE(c.doors.ready.has_value());
    CHECK(c.limits == LimitSettings{3, 4, 5, 6, 7, 8, 9, 10, 11, 2048, 12, 6s, 7s});
    CHECK(c.keepalive.idle_s == 1);
    CHECK(c.keepalive.interval_s == 2);
    CHECK(c.keepalive.retries == 3);
    CHECK(c.keepalive.user_timeout_ms == 4000);
    REQUIRE(c.pods.size() == 1);
    CHECK(c.pods[0] == Pod{"Kubernetes//Pod/bench/c1", "c1", {"example.org", "bench", "client"}, "/run/netns/c1"});
}

TEST_CASE("config: every key of a workload lands where it belongs") {
    auto loaded = parse_config(good_file, "f.yaml");
    REQUIRE(loaded.has_value());
    REQUIRE(loaded->workloads.size() == 2);
    state::Workload expected;
    expected.uid = "Kubernetes//Pod/bench/c1";
    expected.name = "c1";
    expected.namespace_ = "bench";
    expected.trust_domain = "example.org";  // the node's
    expected.cluster_id = "west";
    expected.service_account = "client";
    expected.ips = {*base::IpAddress::parse("10.71.1.10"), *base::IpAddress::parse("fd00::10")};
    expected.protocol = state::Protocol::hbone;
    expected.node = "node1";
    expected.workload_name = "client";
    expected.workload_type = "deployment";
    expected.canonical_name = "client";
    expected.canonical_revision = "v1";
    expected.network = "net1";
    expected.locality = {"r", "z", "s"};
    CHECK(loaded->workloads[0] == expected);

    const state::Workload& other = loaded->workloads[1];
    CHECK(other.trust_domain == "other.org");
    CHECK(other.cluster_id == "east");
    CHECK(other.protocol == state::Protocol::tcp);
    CHECK(other.network_mode == state::NetworkMode::host_network);
    CHECK(other.status == state::Health::unhealthy);
    CHECK(other.capacity == 0);
    CHECK(other.services == std::map<state::NamespacedHostname, state::PortMap>{
                                {{"bench", "web.bench.svc.cluster.local"}, {{80, 8080}, {443, 8443}}}});
}

TEST_CASE("config: every key of a service lands where it belongs") {
    auto loaded = parse_config(good_file, "f.yaml");
    REQUIRE(loaded.has_value());
    REQUIRE(loaded->services.size() == 1);
    state::Service expected;
    expected.name = "web";
    expected.namespace_ = "bench";
    expected.hostname = "web.bench.svc.cluster.local";
    expected.vips = {{"", *base::IpAddress::parse("10.71.255.1")}, {"net1", *base::IpAddress::parse("fd00:255::1")}};
    expected.cidr_vips = {{"", *state::Cidr::parse("10.99.0.0/16")}};
    expected.ports = {{80, 0}, {443, 8443}};
    expected.endpoints = {
        {"Kubernetes//Pod/bench/c1", {"Kubernetes//Pod/bench/c1", {{80, 7000}}, state::Health::unhealthy}}};
    expected.subject_alt_names = {"spiffe://example.org/ns/bench/sa/web"};
    expected.load_balancer = {
        {state::Scope::network, state::Scope::region}, state::BalanceMode::failover, state::HealthPolicy::allow_all};
    expected.ip_families = state::IpFamilies::ipv6;
    expected.canonical = true;
    expected.visible_only_in_namespace = true;
    CHECK(loaded->services[0] == expected);
}

TEST_CASE("config: a node's name is enough, the rest has defaults") {
    auto loaded = parse_config("node: {name: n}", "f.yaml");
    REQUIRE(loaded.has_value());
    CHECK(loaded->node == NodeSettings{"n", "", "Kubernetes", "cluster.local"});
    CHECK(loaded->ca == CaSettings{"/var/lib/culvert/ca", "", "", "", 24h});
    CHECK(loaded->log == LogSettings{base::log::Level::info, base::log::Format::text, "stdout"});
    CHECK(loaded->workers == 0);
    CHECK(loaded->shutdown_deadline == 5s);
    REQUIRE(loaded->doors.metrics.has_value());
    REQUIRE(loaded->doors.ready.has_value());
    CHECK(loaded->doors.metrics->to_string() == "[::]:15020");
    CHECK(loaded->doors.ready->to_string() == "[::]:15021");
    CHECK(loaded->limits == LimitSettings{1024, 16384, 16384, 4096, 1024, 8192, 1024, 256, 200, 65536, 1000, 10s, 10s});
    CHECK(loaded->keepalive.idle_s == 180);
    CHECK(loaded->keepalive.user_timeout_ms == 1'800'000);
    CHECK(loaded->pods.empty());
}

TEST_CASE("config: a certificate and its key stand in for the directory") {
    auto loaded = parse_config("node: {name: n}\nca: {certificate: c.pem, key: k.pem}", "f.yaml");
    REQUIRE(loaded.has_value());
    CHECK(loaded->ca == CaSettings{"", "c.pem", "k.pem", "", 24h});
}

TEST_CASE("config: a uid and another pod's netns may be the same word") {
    auto loaded = parse_config(R"(
node: {name: n}
pods:
- {uid: a, name: a, namespace: x, serviceAccount: s, netns: b}
- {uid: b, name: b, namespace: x, serviceAccount: s, netns: a}
workloads:
- {uid: a, namespace: x, serviceAccount: s, workloadIps: []}
- {uid: b, namespace: x, serviceAccount: s, workloadIps: []}
)",
                               "f.yaml");
    REQUIRE_MESSAGE(loaded.has_value(), loaded.error().to_string());
    CHECK(loaded->pods.size() == 2);
}

TEST_CASE("config: a file that is not there is named with the reason") {
    auto loaded = load_config("/nonexistent/culvert.yaml");
    REQUIRE(loaded.has_error());
    CHECK(loaded.error().to_string() == "read /nonexistent/culvert.yaml: No such file or directory (os error 2)");
}

TEST_CASE("config: dns is on or off for the node, and a pod may stay out of it") {
    const auto parse = [](const std::string& dns, const std::string& of_pod) {
        return parse_config("node: {name: n}\n" + dns +
                                "pods:\n- {uid: a, name: a, namespace: n, serviceAccount: s, netns: /a" + of_pod +
                                "}\nworkloads:\n- {uid: a, namespace: n, serviceAccount: s, workloadIps: []}\n",
                            "f.yaml");
    };
    auto silent = parse("", "");
    REQUIRE(silent.has_value());
    CHECK(silent->dns == DnsSettings{});
    CHECK_FALSE(silent->pods[0].dns.has_value());
    CHECK_FALSE(parse("dns: false\n", "")->dns.on);
    CHECK(parse("dns: true\n", "")->dns == DnsSettings{.on = true});
    auto full = parse("dns: {resolvConf: /r, clusterDomain: c.d, preferredNamespace: p}\n", ", dns: false");
    REQUIRE(full.has_value());
    CHECK(full->dns == DnsSettings{true, "/r", "c.d", "p"});
    CHECK(full->pods[0].dns == false);
    CHECK(parse("dns: true\n", ", dns: true")->pods[0].dns == true);
    CHECK(parse("dns: 1\n", "").error().to_string() == "f.yaml:2: dns: found \"1\", expected true, false or a mapping");
    CHECK(parse("", ", dns: true").error().to_string().starts_with("f.yaml:3: pods[0].dns: found true, but the node"));
    CHECK(parse("dns: {on: true}\n", "").has_error());
}

TEST_CASE("config: a pod excludes what the node does and its own, whichever comes first in the file") {
    const std::string pods = R"(pods:
- {uid: a, name: a, namespace: n, serviceAccount: s, netns: /a, exclude: {outboundPorts: [80, 3306], inboundPorts: [1]}}
- {uid: b, name: b, namespace: n, serviceAccount: s, netns: /b}
)";
    const std::string node =
        "node: {name: n, exclude: {outboundPorts: [80], outboundCidrs: [10.9.0.1, \"fd00::/8\"]}}\n";
    const std::string workloads = R"(workloads:
- {uid: a, namespace: n, serviceAccount: s, workloadIps: []}
- {uid: b, namespace: n, serviceAccount: s, workloadIps: []}
)";
    for (const std::string& text : {node + pods + workloads, workloads + pods + node}) {
        auto config = parse_config(text, "f.yaml");
        REQUIRE(config.has_value());
        CHECK(config->pods[0].exclude.to_string() ==
              "outbound ports 80, 3306 and 10.9.0.1/32, fd00::/8 and inbound port 1 bypass the mesh");
        CHECK(config->pods[1].exclude.to_string() == "outbound port 80 and 10.9.0.1/32, fd00::/8 bypass the mesh");
    }
}

}
