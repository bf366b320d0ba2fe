// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/changes.hpp>

#include <doctest/doctest.h>

#include "good_file.hpp"

using namespace culvert;
using namespace culvert::control;
using namespace std::chrono_literals;

namespace {

Pod pod(const std::string& uid) {
    return {uid, "name of " + uid, {"cluster.local", "ns", "sa"}, "/run/netns/" + uid};
}

Config with_pods(std::vector<Pod> pods) {
    Config config;
    config.pods = std::move(pods);
    return config;
}

}

TEST_SUITE("control") {

TEST_CASE("changes: the same file twice changes nothing") {
    auto a = parse_config(good_file, "f.yaml");
    auto b = parse_config(good_file, "f.yaml");
    REQUIRE(a.has_value());
    REQUIRE(b.has_value());
    CHECK(diff(*a, *b).none());
}

TEST_CASE("changes: pods join and leave, the others stay") {
    Changes changes = diff(with_pods({pod("a"), pod("b")}), with_pods({pod("b"), pod("c")}));
    CHECK(changes.left == std::vector{pod("a")});
    CHECK(changes.joined == std::vector{pod("c")});
    CHECK_FALSE(changes.mesh);
    CHECK(changes.need_restart.empty());
}

TEST_CASE("changes: the order of pods means nothing") {
    CHECK(diff(with_pods({pod("a"), pod("b")}), with_pods({pod("b"), pod("a")})).none());
}

TEST_CASE("changes: a pod that is not what it was has left and joined") {
    struct Row {
        std::string name;
        void (*change)(Pod&);
    };
    for (const Row& row : {Row{"netns", [](Pod& p) { p.netns = "/run/netns/other"; }},
                           Row{"namespace", [](Pod& p) { p.identity.namespace_ = "other"; }},
                           Row{"service account", [](Pod& p) { p.identity.service_account = "other"; }},
                           Row{"trust domain", [](Pod& p) { p.identity.trust_domain = "other"; }},
                           Row{"name", [](Pod& p) { p.name = "other"; }}}) {
        CAPTURE(row.name);
        Pod fresh = pod("a");
        row.change(fresh);
        Changes changes = diff(with_pods({pod("a"), pod("b")}), with_pods({fresh, pod("b")}));
        CHECK(changes.left == std::vector{pod("a")});
        CHECK(changes.joined == std::vector{fresh});
    }
}

TEST_CASE("changes: a pod that excludes something else is what it was; with another change it is not") {
    Pod before = pod("a"), after = pod("a");
    before.exclude.outbound_ports = {80};
    after.exclude.inbound_ports = {80};
    Changes changes = diff(with_pods({before, pod("b")}), with_pods({after, pod("b")}));
    CHECK(changes.excluding == std::vector{after});
    CHECK(changes.left.empty());
    CHECK(changes.joined.empty());
    CHECK_FALSE(changes.none());
    after.netns = "/run/netns/other";
    changes = diff(with_pods({before}), with_pods({after}));
    CHECK(changes.excluding.empty());
    CHECK(changes.left == std::vector{before});
    CHECK(changes.joined == std::vector{after});
}

TEST_CASE("changes: what the node excludes needs no restart, and concerns the pods that did not exclude it yet") {
    auto of = [](const std::string& exclude) {
        std::string text = good_file;
        text.insert(text.find("  trustDomain"), exclude.empty() ? "" : "  exclude: " + exclude + "\n");
        auto read = parse_config(text, "f.yaml");
        REQUIRE(read.has_value());
        return *read;
    };
    Changes changes = diff(of(""), of("{outboundPorts: [3306]}"));
    REQUIRE(changes.excluding.size() == 1);
    CHECK(changes.excluding[0].exclude.outbound_ports == std::vector<std::uint16_t>{3306});
    CHECK(changes.need_restart.empty());
    CHECK(changes.left.empty());
}

TEST_CASE("changes: each part of the file shows up as itself and as nothing else") {
    struct Row {
        std::string name;
        void (*change)(Config&);
        bool mesh;
        bool log_level;
        std::vector<std::string> need_restart;
    };
    const Row rows[] = {
        {"workload added", [](Config& c) { c.workloads.emplace_back(); }, true, false, {}},
        {"workload changed", [](Config& c) { c.workloads[0].status = state::Health::unhealthy; }, true, false, {}},
        {"service removed", [](Config& c) { c.services.clear(); }, true, false, {}},
        {"service changed", [](Config& c) { c.services[0].ports[81] = 1; }, true, false, {}},
        {"log level", [](Config& c) { c.log.level = base::log::Level::error; }, false, true, {}},
        {"log format", [](Config& c) { c.log.format = base::log::Format::text; }, false, false, {"log.format"}},
        {"access log", [](Config& c) { c.log.access = "elsewhere"; }, false, false, {"log.access"}},
        {"node", [](Config& c) { c.node.name = "other"; }, false, false, {"node"}},
        {"ca", [](Config& c) { c.ca.ttl = 1h; }, false, false, {"ca"}},
        {"workers", [](Config& c) { c.workers = 9; }, false, false, {"workers"}},
        {"shutdown", [](Config& c) { c.shutdown_deadline = 9s; }, false, false, {"shutdown"}},
        {"doors", [](Config& c) { c.doors.metrics.reset(); }, false, false, {"doors"}},
        {"limits", [](Config& c) { c.limits.connect_timeout = 9s; }, false, false, {"limits"}},
        {"dns", [](Config& c) { c.dns.on = true; }, false, false, {"dns"}},
        {"keepalive", [](Config& c) { c.keepalive.user_timeout_ms = 9; }, false, false, {"keepalive"}},
        {"two at once",
         [](Config& c) {
             c.workers = 9;
             c.limits.max_pods = 9;
         },
         false,
         false,
         {"workers", "limits"}},
    };
    auto old = parse_config(good_file, "f.yaml");
    REQUIRE(old.has_value());
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Config fresh = *old;
        row.change(fresh);
        Changes changes = diff(*old, fresh);
        CHECK(changes.mesh == row.mesh);
        CHECK(changes.log_level == row.log_level);
        CHECK(changes.need_restart == row.need_restart);
        CHECK(changes.left.empty());
        CHECK(changes.joined.empty());
        CHECK_FALSE(changes.none());
    }
}

}
