// SPDX-License-Identifier: Apache-2.0
// What is none of the mesh's business stays as it was: loopback, the own address, probes of the node.
#include <doctest/doctest.h>

#include <algorithm>

#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

// A call that the mesh does carry; once its line is there, an earlier call's would be too.
void carry_one_call(World& world, Family family) {
    Server echo{world.far.netns(), 8081, apps::echo};
    Connection app = world.client.dial(world.far.at(family, 8081));
    const std::string client = app.local().to_string();
    CHECK(app.echoes("carried"));
    app.close();
    world.one.access_log().wait_for({{"direction", "outbound"}, {"src.addr", client}});
}

// Who a probe of node 1 comes from: the node, or the address by which Istio's rules tell probes from other traffic.
IpAddress prober(Family family) {
    const bool v4 = family == Family::v4;
    if (capture_mode() == "ebpf") return *IpAddress::parse(v4 ? "10.71.1.1" : "fd71:0:0:1::1");
    return *IpAddress::parse(v4 ? "169.254.7.127" : "fd16:9254:7127:1337:ffff:ffff:ffff:ffff");
}

bool speaks_of(const AccessLog& log, const SocketAddress& address) {
    return std::ranges::any_of(log.since_mark(), [&](const AccessLine& line) {
        return line["src.addr"] == address.to_string() || line["dst.addr"] == address.to_string() ||
               line["dst.hbone_addr"] == address.to_string();
    });
}

}

TEST_SUITE("untouched") {

TEST_CASE("untouched: loopback and the pod's own address reach its app directly" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        const IpAddress loopback = *IpAddress::parse(family == Family::v4 ? "127.0.0.1" : "::1");
        for (const IpAddress& ip : {loopback, world.client.ip(family)}) {
            CAPTURE(ip.to_string());
            Server echo{world.client.netns(), 0, apps::echo};
            const SocketAddress target{ip, echo.port()};
            world.mark();
            Connection app = world.client.dial(target);
            const SocketAddress own = app.local();
            CHECK(app.echoes("just us"));
            app.close();
            CHECK(echo.guest(0).from == own);
            CHECK(echo.guest(0).to == target);
            carry_one_call(world, family);
            CHECK_FALSE(speaks_of(world.one.access_log(), own));
            CHECK_FALSE(speaks_of(world.one.access_log(), target));
        }
    }
}

TEST_CASE("untouched: a closed port of the pod's own is refused by the kernel as ever" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const IpAddress loopback = *IpAddress::parse(family == Family::v4 ? "127.0.0.1" : "::1");
        CHECK(world.client.attempt({loopback, 9}).error == ECONNREFUSED);
        CHECK(world.client.attempt(world.client.at(family, 9)).error == ECONNREFUSED);
    }
}

TEST_CASE("untouched: a probe from the node reaches the app and no proxy" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 0, apps::echo};
        const SocketAddress target = world.near.at(family, echo.port());
        world.mark();
        Connection probe = Connection::open(world.lab.node_netns(1), {.to = target});
        CHECK(probe.echoes("alive?"));
        probe.close();
        CHECK(echo.guest(0).from.ip == prober(family));
        carry_one_call(world, family);
        CHECK_FALSE(speaks_of(world.one.access_log(), target));
        CHECK(attempt(world.lab.node_netns(1), {.to = world.near.at(family, 9)}).error == ECONNREFUSED);
    }
}

TEST_CASE(
    "untouched: an app that restarts gets its port back, whatever connections the mesh carries for it" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        std::vector<Connection> open;
        for (int restart = 0; restart < 3; ++restart) {
            Server echo{world.near.netns(), 8080, apps::echo};
            for (Pod* from : {&world.client, &world.plain1}) {
                open.push_back(from->dial(world.near.at(family, 8080)));
                CHECK(open.back().echoes("served"));
            }
        }
        // Nor do calls to far ports of the same number stand in the way.
        Server far{world.plain2.netns(), 4443, apps::echo};
        Connection out = world.near.dial(world.plain2.at(family, 4443));
        CHECK(out.echoes("going out"));
        Server own{world.near.netns(), 4443, apps::echo};
    }
}

TEST_CASE("untouched: the other node's processes are callers like any other" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo};
        world.mark();
        Connection app = Connection::open(world.lab.node_netns(2), {.to = world.near.at(family, 8080)});
        const SocketAddress caller = app.local();
        CHECK(app.echoes("from afar"));
        app.close();
        CHECK(echo.guest(0).from.ip == caller.ip);
        world.one.access_log().wait_for({{"direction", "inbound"}, {"src.addr", caller.to_string()}});
    }
}

}
