// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/route.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

using namespace culvert;
using namespace culvert::state;

namespace {

// "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:8080 of web", or the error's text.
std::string describe(const base::Result<Route>& route) {
    if (!route) return route.error().to_string();
    std::string text = route->via == Via::hbone ? "hbone" : route->via == Via::plain ? "plain" : "passthrough";
    if (route->destination) text += " " + route->destination->name;
    text += " via " + route->next_hop.to_string() + " to " + route->target.to_string();
    if (route->service) text += " of " + route->service->name;
    return text;
}

std::string route(const Snapshot& mesh, const Workload& source, std::string_view target) {
    Random random{1};
    return describe(find_route(mesh, source, to(target), random));
}

struct Row {
    std::string name;
    std::string target;
    std::string expected;
};

void check(const Snapshot& mesh, std::initializer_list<Row> rows) {
    Workload client = pod("c1", {"10.0.0.1", "fd00::1"});
    for (const Row& row : rows) {
        CAPTURE(row.name);
        CHECK(route(mesh, client, row.target) == row.expected);
    }
}

// How often each workload is chosen for a VIP, by name; refusals count as "refused".
std::map<std::string, int> choices(const Snapshot& mesh, const Workload& source, std::string_view target, int rounds) {
    Random random{42};
    std::map<std::string, int> counts;
    for (int i = 0; i < rounds; ++i) {
        auto route = find_route(mesh, source, to(target), random);
        ++counts[route ? route->destination->name : "refused"];
    }
    return counts;
}

}

TEST_SUITE("state") {

TEST_CASE("route: a call to the mesh's own ports on loopback is refused, everything else on loopback is passed") {
    check(Snapshot{{}, {}},
          {
              {"outbound", "127.0.0.1:15001", "attempted recursive call to ourselves"},
              {"plaintext inbound", "127.0.0.2:15006", "attempted recursive call to ourselves"},
              {"tunnel", "[::1]:15008", "attempted recursive call to ourselves"},
              {"an app on loopback", "127.0.0.1:8080", "passthrough via 127.0.0.1:8080 to 127.0.0.1:8080"},
              {"metrics", "[::1]:15020", "passthrough via [::1]:15020 to [::1]:15020"},
              {"the tunnel's port elsewhere", "192.0.2.1:15008", "passthrough via 192.0.2.1:15008 to 192.0.2.1:15008"},
          });
}

TEST_CASE("route: by address to a workload of the mesh, the port as asked") {
    Snapshot mesh{{pod("s1", {"10.0.0.2", "fd00::2"}), pod("old", {"10.0.0.3", "fd00::3"}, Protocol::tcp),
                   with(pod("host", {"10.0.0.4"}), [](Workload& w) { w.network_mode = NetworkMode::host_network; }),
                   with(pod("far", {"10.0.0.5"}), [](Workload& w) { w.network = "far"; })},
                  {}};
    check(mesh, {
                    {"HBONE", "10.0.0.2:8080", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:8080"},
                    {"HBONE, IPv6", "[fd00::2]:8080", "hbone s1 via [fd00::2]:15008 to [fd00::2]:8080"},
                    {"HBONE, a port of ours: for inbound to judge", "10.0.0.2:15008",
                     "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:15008"},
                    {"TCP", "10.0.0.3:8080", "plain old via 10.0.0.3:8080 to 10.0.0.3:8080"},
                    {"TCP, IPv6", "[fd00::3]:8080", "plain old via [fd00::3]:8080 to [fd00::3]:8080"},
                    {"host network", "10.0.0.4:8080", "passthrough via 10.0.0.4:8080 to 10.0.0.4:8080"},
                    {"another network's address", "10.0.0.5:8080", "passthrough via 10.0.0.5:8080 to 10.0.0.5:8080"},
                    {"nobody", "192.0.2.1:443", "passthrough via 192.0.2.1:443 to 192.0.2.1:443"},
                    {"nobody, IPv6", "[2001:db8::1]:443", "passthrough via [2001:db8::1]:443 to [2001:db8::1]:443"},
                });
}

TEST_CASE("route: by VIP to an endpoint, at the port that it or the service maps to") {
    Service web = service("web", {at("10.1.0.1"), at("fd00:1::1")}, {{80, 8080}, {81, 0}, {82, 0}, {83, 8383}});
    Workload s1 = serving(pod("s1", {"10.0.0.2", "fd00::2"}), web, {{80, 9090}, {81, 9191}, {83, 0}, {99, 9999}});
    check(
        Snapshot{{s1}, {web}},
        {
            {"endpoint's own port", "10.1.0.1:80", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:9090 of web"},
            {"client's family", "[fd00:1::1]:80", "hbone s1 via [fd00::2]:15008 to [fd00::2]:9090 of web"},
            {"named port that the endpoint has", "10.1.0.1:81", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:9191 of web"},
            {"named port that it has not", "10.1.0.1:82", "no healthy upstream: 10.1.0.1:82"},
            {"service's port", "10.1.0.1:83", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:8383 of web"},
            {"port that only the endpoint has", "10.1.0.1:99", "no healthy upstream: 10.1.0.1:99"},
            {"port that nobody has", "10.1.0.1:9999", "no healthy upstream: 10.1.0.1:9999"},
            {"port that nobody has, IPv6", "[fd00:1::1]:9999", "no healthy upstream: [fd00:1::1]:9999"},
            {"endpoint by its own address", "10.0.0.2:80", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:80"},
        });
}

TEST_CASE("route: by VIP to a TCP workload, also one on the host's network") {
    Service web = service("web", {at("10.1.0.1")});
    auto host =
        with(pod("host", {"10.0.0.4"}, Protocol::tcp), [](Workload& w) { w.network_mode = NetworkMode::host_network; });
    check(Snapshot{{serving(host, web)}, {web}},
          {{"host network", "10.1.0.1:80", "plain host via 10.0.0.4:8080 to 10.0.0.4:8080 of web"}});
}

TEST_CASE("route: a range of addresses is a VIP too") {
    Service web = service("web", {});
    web.cidr_vips = {{"", *Cidr::parse("10.9.0.0/16")}};
    check(Snapshot{{serving(pod("s1", {"10.0.0.2"}), web)}, {web}},
          {{"inside", "10.9.1.2:80", "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:8080 of web"},
           {"outside", "10.8.1.2:80", "passthrough via 10.8.1.2:80 to 10.8.1.2:80"}});
}

TEST_CASE("route: a service without anybody to take the connection is refused, never passed through") {
    const Service plain = service("web", {at("10.1.0.1")});
    const Workload good = pod("s1", {"10.0.0.2"});
    struct Case {
        std::string name;
        std::vector<Workload> workloads;
        Service service = {};
    };
    for (const Case& c : {
             Case{"no endpoint", {good}, plain},
             Case{"ill", {serving(with(good, [](Workload& w) { w.status = Health::unhealthy; }), plain)}, plain},
             Case{"no address", {serving(pod("s1", {}), plain)}, plain},
             Case{"another network", {serving(with(good, [](Workload& w) { w.network = "far"; }), plain)}, plain},
             Case{"no weight", {serving(with(good, [](Workload& w) { w.capacity = 0; }), plain)}, plain},
             Case{"the wrong family only",
                  {serving(good, plain)},
                  with(plain, [](Service& s) { s.ip_families = IpFamilies::ipv6; })},
             Case{"somebody unknown",
                  {},
                  with(plain,
                       [](Service& s) {
                           s.endpoints["x"] = {"x", {{80, 8080}}};
                       })},
         }) {
        CAPTURE(c.name);
        CHECK(route(Snapshot{c.workloads, {c.service}}, pod("c1", {}), "10.1.0.1:80") ==
              "no healthy upstream: 10.1.0.1:80");
    }
}

TEST_CASE("route: a VIP that is also a workload's address is the service's") {
    Service web = service("web", {at("10.0.0.2")});
    check(Snapshot{{pod("s1", {"10.0.0.2"}), serving(pod("s2", {"10.0.0.3"}), web)}, {web}},
          {{"has an endpoint", "10.0.0.2:80", "hbone s2 via 10.0.0.3:15008 to 10.0.0.3:8080 of web"}});
    check(Snapshot{{pod("s1", {"10.0.0.2"})}, {web}},
          {{"has none", "10.0.0.2:80", "no healthy upstream: 10.0.0.2:80"}});
}

TEST_CASE("route: a service that the client does not see is nobody's VIP") {
    Service web = with(service("web", {at("10.1.0.1")}), [](Service& s) { s.visible_only_in_namespace = true; });
    Snapshot mesh{{serving(pod("s1", {"10.0.0.2"}), web)}, {web}};
    auto stranger = with(pod("c1", {}), [](Workload& w) { w.namespace_ = "other"; });
    CHECK(route(mesh, pod("c1", {}), "10.1.0.1:80") == "hbone s1 via 10.0.0.2:15008 to 10.0.0.2:8080 of web");
    CHECK(route(mesh, stranger, "10.1.0.1:80") == "passthrough via 10.1.0.1:80 to 10.1.0.1:80");
}

TEST_CASE("route: passthrough mode goes where the client asked, in the clear and without labels") {
    Service web =
        with(service("web", {at("10.1.0.1")}), [](Service& s) { s.load_balancer.mode = BalanceMode::passthrough; });
    check(Snapshot{{serving(pod("s1", {"10.0.0.2"}), web)}, {web}},
          {{"any port", "10.1.0.1:1234", "passthrough via 10.1.0.1:1234 to 10.1.0.1:1234"}});
}

TEST_CASE("route: which of an endpoint's addresses is dialled") {
    struct Case {
        std::string name;
        std::vector<std::string_view> addresses;
        IpFamilies families;
        std::string target;
        std::string dialled;
    };
    for (const Case& c : {
             Case{"IPv4 asked", {"fd00::2", "10.0.0.2"}, IpFamilies::dual, "10.1.0.1:80", "10.0.0.2"},
             Case{"IPv6 asked", {"10.0.0.2", "fd00::2"}, IpFamilies::dual, "[fd00:1::1]:80", "fd00::2"},
             Case{"the first of a family", {"10.0.0.2", "10.0.0.3"}, IpFamilies::dual, "10.1.0.1:80", "10.0.0.2"},
             Case{"the other family if that is all", {"fd00::2"}, IpFamilies::dual, "10.1.0.1:80", "fd00::2"},
             Case{"the first of the other family", {"fd00::2", "fd00::3"}, IpFamilies::dual, "10.1.0.1:80", "fd00::2"},
             Case{"the other way round", {"10.0.0.2"}, IpFamilies::dual, "[fd00:1::1]:80", "10.0.0.2"},
             Case{"only what the service allows", {"10.0.0.2", "fd00::2"}, IpFamilies::ipv6, "10.1.0.1:80", "fd00::2"},
             Case{"the very address that was asked for",
                  {"10.0.0.2", "10.1.0.1"},
                  IpFamilies::dual,
                  "10.1.0.1:80",
                  "10.1.0.1"},
         }) {
        CAPTURE(c.name);
        Service web = service("web", {at("10.1.0.1"), at("fd00:1::1")});
        web.ip_families = c.families;
        Snapshot mesh{{serving(pod("s1", c.addresses), web)}, {web}};
        Random random{1};
        auto route = find_route(mesh, pod("c1", {}), to(c.target), random);
        REQUIRE(route.has_value());
        CHECK(route->target.ip.to_string() == c.dialled);
        CHECK(route->next_hop.ip == route->target.ip);
    }
}

TEST_CASE(
    "route: the peer may be the destination, or what the service also allows; in the clear there is nobody to check") {
    Service web = service("web", {at("10.1.0.1")});
    web.subject_alt_names = {"spiffe://a/ns/b/sa/c", "spiffe://d/ns/e/sa/f"};
    Service old = service("old", {at("10.1.0.2")});
    old.subject_alt_names = web.subject_alt_names;
    Snapshot mesh{{serving(pod("s1", {"10.0.0.2"}), web), serving(pod("s2", {"10.0.0.3"}, Protocol::tcp), old)},
                  {web, old}};
    struct Case {
        std::string target;
        std::vector<std::string> accepted;
    };
    const std::string s1 = "spiffe://cluster.local/ns/bench/sa/s1";
    for (const Case& c :
         {Case{"10.0.0.2:80", {s1}}, Case{"10.1.0.1:80", {s1, "spiffe://a/ns/b/sa/c", "spiffe://d/ns/e/sa/f"}},
          Case{"10.1.0.2:80", {}}, Case{"192.0.2.1:80", {}}}) {
        CAPTURE(c.target);
        Random random{1};
        auto route = find_route(mesh, pod("c1", {}), to(c.target), random);
        REQUIRE(route.has_value());
        CHECK(route->accepted_identities == c.accepted);
    }
}

TEST_CASE("balance: endpoints are chosen by their capacity") {
    Service web = service("web", {at("10.1.0.1")});
    auto weighing = [&](const std::string& name, std::string_view address, std::uint32_t capacity) {
        return serving(with(pod(name, {address}), [&](Workload& w) { w.capacity = capacity; }), web);
    };
    Snapshot mesh{{weighing("a", "10.0.0.2", 1), weighing("b", "10.0.0.3", 3), weighing("none", "10.0.0.4", 0),
                   weighing("c", "10.0.0.5", 4)},
                  {web}};
    auto counts = choices(mesh, pod("c1", {}), "10.1.0.1:80", 8000);
    CHECK(counts["a"] == doctest::Approx(1000).epsilon(0.15));
    CHECK(counts["b"] == doctest::Approx(3000).epsilon(0.1));
    CHECK(counts["c"] == doctest::Approx(4000).epsilon(0.1));
    CHECK_FALSE(counts.contains("none"));
    CHECK_FALSE(counts.contains("refused"));
}

TEST_CASE("balance: the largest capacities do not overflow") {
    Service web = service("web", {at("10.1.0.1")});
    std::vector<Workload> workloads;
    for (int i = 2; i < 6; ++i)
        workloads.push_back(serving(with(pod("s" + std::to_string(i), {"10.0.0." + std::to_string(i)}),
                                         [](Workload& w) { w.capacity = 0xffffffff; }),
                                    web));
    auto counts = choices(Snapshot{workloads, {web}}, pod("c1", {}), "10.1.0.1:80", 4000);
    CHECK(counts.size() == 4);
    for (const auto& [name, count] : counts) CHECK(count == doctest::Approx(1000).epsilon(0.15));
}

TEST_CASE("balance: an endpoint without the port is left out, the others take its share") {
    Service web = service("web", {at("10.1.0.1")}, {{80, 0}});
    Snapshot mesh{{serving(pod("a", {"10.0.0.2"}), web, {}), serving(pod("b", {"10.0.0.3"}), web)}, {web}};
    CHECK(choices(mesh, pod("c1", {}), "10.1.0.1:80", 50) == std::map<std::string, int>{{"b", 50}});
}

TEST_CASE("balance: preferences decide whose turn it is") {
    auto placed = [](Workload w, const std::string& region, const std::string& zone, const std::string& node) {
        w.locality = {region, zone, ""};
        w.node = node;
        return w;
    };
    const Service web = service("web", {at("10.1.0.1")});
    const Workload client = placed(pod("c1", {}), "eu", "eu-1", "n1");
    const Workload near = serving(placed(pod("near", {"10.0.0.2"}), "eu", "eu-1", "n2"), web);
    const Workload zone_too = serving(placed(pod("zone", {"10.0.0.3"}), "eu", "eu-1", "n3"), web);
    const Workload region = serving(placed(pod("region", {"10.0.0.4"}), "eu", "eu-2", "n4"), web);
    const Workload far = serving(placed(pod("far", {"10.0.0.5"}), "us", "eu-1", "n1"), web);
    const Workload beside = serving(placed(pod("beside", {"10.0.0.6"}), "eu", "eu-1", "n1"), web);
    struct Case {
        std::string name;
        BalanceMode mode;
        std::vector<Scope> preferences;
        std::vector<Workload> workloads;
        std::vector<std::string> chosen;
    };
    const auto failover = BalanceMode::failover;
    const auto strict = BalanceMode::strict;
    for (const Case& c : {
             Case{"standard ignores them",
                  BalanceMode::standard,
                  {Scope::region, Scope::zone},
                  {far, near},
                  {"far", "near"}},
             Case{"the nearest, all of them",
                  failover,
                  {Scope::region, Scope::zone},
                  {far, region, near, zone_too},
                  {"near", "zone"}},
             Case{"in any order",
                  failover,
                  {Scope::region, Scope::zone},
                  {near, far, zone_too, region},
                  {"near", "zone"}},
             Case{"the next best", failover, {Scope::region, Scope::zone}, {far, region}, {"region"}},
             Case{"anybody rather than nobody", failover, {Scope::region, Scope::zone}, {far}, {"far"}},
             Case{"a later match does not help",
                  failover,
                  {Scope::region, Scope::zone, Scope::node},
                  {far, region},
                  {"region"}},
             Case{"empty labels are alike", failover, {Scope::subzone}, {far, near}, {"far", "near"}},
             Case{"the same node", failover, {Scope::node}, {near, beside}, {"beside"}},
             Case{"the same network and cluster",
                  failover,
                  {Scope::network, Scope::cluster, Scope::node},
                  {near, beside},
                  {"beside"}},
             Case{"no preferences", failover, {}, {far, near}, {"far", "near"}},
             Case{"no weight there",
                  failover,
                  {Scope::zone},
                  {with(near, [](Workload& w) { w.capacity = 0; }), region},
                  {"region"}},
             Case{"strict", strict, {Scope::region, Scope::zone}, {far, region, near}, {"near"}},
             Case{"strict, nobody", strict, {Scope::region, Scope::zone}, {far, region}, {"refused"}},
             Case{"strict without preferences", strict, {}, {far, near}, {"far", "near"}},
         }) {
        CAPTURE(c.name);
        Service balanced = web;
        balanced.load_balancer = {c.preferences, c.mode};
        auto counts = choices(Snapshot{c.workloads, {balanced}}, client, "10.1.0.1:80", 100);
        std::vector<std::string> chosen;
        for (const auto& [name, count] : counts) chosen.push_back(name);
        CHECK(chosen == c.chosen);
    }
}

TEST_CASE("mesh port: the three that carry pods' traffic") {
    for (std::uint16_t port : {15001, 15006, 15008}) CHECK(is_mesh_port(port));
    for (std::uint16_t port : {80, 15000, 15020, 15021, 15053}) CHECK_FALSE(is_mesh_port(port));
}

// A waypoint has policies of its own.
TEST_CASE("route: who is behind a waypoint is not called past it") {
    const GatewayAddress by_name{NamespacedHostname{"bench", "wp.bench"}, 15008};
    const GatewayAddress by_address{at("10.9.9.9", "far"), 15008};
    Service web = service("web", {at("10.1.0.1")});
    Service canary = with(service("canary", {at("10.1.0.2")}), [&](Service& s) {
        s.weighted_waypoints = {{by_name, 80}, {by_address, 20}};
        s.load_balancer.mode = BalanceMode::passthrough;
    });
    web.waypoint = by_address;
    Workload own = with(pod("own", {"10.0.0.2"}), [&](Workload& w) { w.waypoint = by_name; });
    // What is called by a service's address takes the service's waypoint, never the workload's.
    Service plain = service("plain", {at("10.1.0.3")});
    check(
        Snapshot{{serving(own, plain)}, {web, canary, plain}},
        {
            {"a service", "10.1.0.1:80", "unknown waypoint: far/10.9.9.9 (waypoints are not supported yet)"},
            {"whatever its mode", "10.1.0.2:80", "unknown waypoint: bench/wp.bench (waypoints are not supported yet)"},
            {"a workload", "10.0.0.2:80", "unknown waypoint: bench/wp.bench (waypoints are not supported yet)"},
            {"through a service", "10.1.0.3:80", "hbone own via 10.0.0.2:15008 to 10.0.0.2:8080 of plain"},
        });
}

}
