// SPDX-License-Identifier: Apache-2.0
// Who calls a pod from outside the mesh, and by which way: the proxy has them all, but for the node's own processes.
#include <doctest/doctest.h>

#include <algorithm>
#include <future>

#include "finally.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

IpAddress node_ip(Family family) {
    return *IpAddress::parse(family == Family::v4 ? "10.71.1.1" : "fd71:0:0:1::1");
}

IpAddress wire_ip(Family family) {
    return *IpAddress::parse(family == Family::v4 ? "10.72.0.1" : "fd72::1");
}

// Istio's rules give all probes this one address.
IpAddress probe_seen_from(const IpAddress& own, Family family) {
    if (capture_mode() == "ebpf") return own;
    return *IpAddress::parse(family == Family::v4 ? "169.254.7.127" : "fd16:9254:7127:1337:ffff:ffff:ffff:ffff");
}

// Lines of connections to an app: what the proxy has carried.
std::vector<AccessLine> carried_to(World& world, const SocketAddress& target) {
    auto lines = world.one.access_log().since_mark();
    std::erase_if(lines, [&](const AccessLine& line) {
        return line["direction"] != "inbound" || line["dst.addr"] != target.to_string();
    });
    return lines;
}

// One line, and it is about this caller.
void check_carried(World& world, const SocketAddress& target, const IpAddress& caller) {
    CHECK(eventually(15s, [&] { return !carried_to(world, target).empty(); }));
    const auto lines = carried_to(world, target);
    REQUIRE(lines.size() == 1);
    const std::string from = SocketAddress{caller, 0}.to_string();
    CHECK(lines[0]["src.addr"].starts_with(from.substr(0, from.size() - 1)));
}

// A line in the iptables or ip6tables of the node, as long as this lives.
class NodeRule {
public:
    NodeRule(World& world, Family family, std::vector<std::string> rule)
        : netns_{world.lab.node_netns(1)},
          program_{family == Family::v4 ? "iptables" : "ip6tables"},
          rule_{std::move(rule)} {
        must(command("-A"), netns_);
    }
    NodeRule(const NodeRule&) = delete;
    ~NodeRule() { run(command("-D"), netns_); }

private:
    std::vector<std::string> command(const std::string& verb) const {
        std::vector<std::string> words{program_, "-w", "-t", "nat", verb};
        words.insert(words.end(), rule_.begin(), rule_.end());
        return words;
    }
    int netns_;
    std::string program_;
    std::vector<std::string> rule_;
};

}

TEST_SUITE("inbound") {

TEST_CASE("inbound: on whatever port, from pods and nodes near and far, the proxy has it" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const std::uint16_t port : {1, 80, 8080, 15000, 15053, 30000, 60999, 65535}) {
            Server echo{world.near.netns(), port, apps::echo};
            const SocketAddress target = world.near.at(family, port);
            for (const int caller : {world.plain1.netns(), world.plain2.netns(), world.lab.node_netns(2)}) {
                CAPTURE(target.to_string());
                world.mark();
                Connection app = Connection::open(caller, {.to = target});
                const IpAddress own = app.local().ip;
                CHECK(app.echoes("from outside the mesh"));
                app.close();
                check_carried(world, target, own);
                CHECK(echo.last_guest().from.ip == own);
                CHECK(echo.last_guest().to == target);
            }
        }
    }
}

TEST_CASE("inbound: a client calls two ports of a pod from one port of its own, at once" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        Server one{world.near.netns(), 8080, apps::echo}, other{world.near.netns(), 8081, apps::echo};
        for (Pod* caller : {&world.plain1, &world.plain2, &world.client}) {
            CAPTURE(to_string(family));
            CAPTURE(caller->name());
            Connection first = caller->dial(
                {.to = world.near.at(family, 8080), .from = SocketAddress{caller->ip(family), 0}, .limit = 3s});
            CHECK(first.echoes("first"));
            Connection second = caller->dial({.to = world.near.at(family, 8081), .from = first.local(), .limit = 3s});
            CHECK(second.echoes("second"));
            CHECK(first.echoes("first still"));
            CHECK(one.last_guest().to.port == 8080);
            CHECK(other.last_guest().to.port == 8081);
            CHECK(other.last_guest().from.ip == caller->ip(family));
        }
    }
}

TEST_CASE("inbound: by a hostPort of the node, the proxy has it, and the app sees who called" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        NodeRule host_port{
            world,
            family,
            {"PREROUTING", "-p", "tcp", "--dport", "9090", "-j", "DNAT", "--to-destination", target.to_string()}};
        for (const int caller : {world.plain2.netns(), world.lab.node_netns(2)}) {
            world.mark();
            Connection app = Connection::open(caller, {.to = {wire_ip(family), 9090}});
            const IpAddress own = app.local().ip;
            CHECK(app.echoes("to the node's port"));
            app.close();
            check_carried(world, target, own);
            CHECK(echo.last_guest().from.ip == own);
        }
    }
}

TEST_CASE("inbound: what is forwarded in the node's own name is captured, and probes meanwhile are not" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        NodeRule snat{world,
                      family,
                      {"POSTROUTING", "-s", world.plain2.ip(family).to_string(), "-o", "br0", "-p", "tcp", "-j", "SNAT",
                       "--to-source", node_ip(family).to_string()}};
        world.mark();
        Connection forwarded = world.plain2.dial(target);
        CHECK(forwarded.echoes("in the node's name"));
        CHECK(echo.last_guest().from.ip == node_ip(family));
        for (int i = 0; i < 5; ++i) {
            Connection probe = Connection::open(world.lab.node_netns(1), {.to = target});
            CHECK(probe.echoes("alive?"));
            CHECK(echo.last_guest().from.ip == probe_seen_from(node_ip(family), family));
        }
        CHECK(forwarded.echoes("still there"));
        forwarded.close();
        check_carried(world, target, node_ip(family));
    }
}

TEST_CASE("inbound: a probe from any address of the node reaches the app and no proxy, each time" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        world.mark();
        for (const IpAddress& own : {node_ip(family), wire_ip(family)}) {
            CAPTURE(own.to_string());
            for (int i = 0; i < 30; ++i) {
                Connection probe =
                    Connection::open(world.lab.node_netns(1), {.to = target, .from = SocketAddress{own, 0}});
                CHECK(probe.echoes("alive?"));
                CHECK(echo.last_guest().from.ip == probe_seen_from(own, family));
            }
        }
        world.plain1.dial(target).echoes("carried");
        check_carried(world, target, world.plain1.ip(family));
    }
}

TEST_CASE("inbound: another pod's address that an app takes as its own takes no probe from that pod" BOTH_FAMILIES) {
    World& world = World::shared();
    must({"sh", "-c", "ip link add other type bridge; ip link set other up"}, world.client.netns());
    Finally no_more{[&] { run({"ip", "link", "del", "other"}, world.client.netns()); }};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        const std::string theirs = target.ip.to_string() + (family == Family::v4 ? "/32" : "/128 nodad") + " dev other";
        world.mark();
        auto is_carried = [&] {
            CHECK(Connection::open(world.lab.node_netns(1), {.to = target}).echoes("alive?"));
            return !world.one.access_log().since_mark().empty();
        };
        for (const char* change : {"add ", "del "}) {
            must({"sh", "-c", "ip address " + std::string{change} + theirs}, world.client.netns());
            CHECK_FALSE(eventually(400ms, is_carried));
        }
        world.plain1.dial(target).echoes("this one is");
        CHECK(eventually(5s, is_carried));
    }
}

TEST_CASE("inbound: a probe whose first packets were lost is a probe still" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        const IpAddress pod = world.near.ip(family);
        const SocketAddress target{pod, 8080};
        const auto find_it = [&] {
            run({"ip", "neigh", "del", pod.to_string(), "dev", "br0"}, world.lab.node_netns(1));
        };
        Finally found{find_it};
        world.lab.lose(pod, 1);
        world.mark();
        auto probing =
            std::async(std::launch::async, [&] { return Connection::open(world.lab.node_netns(1), {.to = target}); });
        // For longer than a note lives, and past the first time that the SYN is sent again.
        CHECK(probing.wait_for(1500ms) == std::future_status::timeout);
        find_it();
        Connection probe = probing.get();
        CHECK(probe.echoes("alive?"));
        CHECK(echo.last_guest().from.ip == probe_seen_from(node_ip(family), family));
        probe.close();  // or there would be no line yet if it had been carried
        world.plain1.dial(target).echoes("carried");
        check_carried(world, target, world.plain1.ip(family));
    }
}

}
