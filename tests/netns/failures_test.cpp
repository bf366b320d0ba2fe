// SPDX-License-Identifier: Apache-2.0
// What cannot be reached: how the app hears of it, and the line that says why, in ztunnel's words.
#include <doctest/doctest.h>

#include "app_socket.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

const std::string refused = "Connection refused (os error 111)";
const std::string maybe_policy = "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ";

}

TEST_SUITE("failures") {

TEST_CASE("failure: a closed port behind a tunnel is 503 on our side and the app's refusal on theirs" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (Pod* server : {&world.far, &world.near}) {
            CAPTURE(server->name());
            CAPTURE(to_string(family));
            world.mark();
            CHECK(fate(world.client.netns(), {.to = server->at(family, 9)}) == "reset");
            const std::string target = server->at(family, 9).to_string();
            const auto ours = world.one.access_log().wait_for({{"direction", "outbound"},
                                                               {"dst.hbone_addr", target},
                                                               {"error", "http status: 503 Service Unavailable"}});
            CHECK(ours.level == "error");
            CHECK(ours.message == "connection complete");
            const auto theirs = world.node_of(*server).access_log().wait_for(
                {{"direction", "inbound"}, {"dst.hbone_addr", target}, {"error", "connection failed: " + refused}});
            CHECK(theirs.level == "error");
        }
    }
}

TEST_CASE("failure: a pod that should speak HBONE and does not, and a closed port of a plain one" BOTH_FAMILIES) {
    World& world = World::shared();
    struct Row {
        std::string name;
        SocketAddress target;
        std::string hbone;
    };
    for (Family family : families()) {
        const std::string behind = world.down.at(family, 8080).to_string();
        for (const Row& row : {Row{"HBONE by VIP", world.vip("down", family), behind},
                               Row{"HBONE by pod IP", world.down.at(family, 8080), behind},
                               Row{"plain", world.plain2.at(family, 9), ""}}) {
            CAPTURE(row.name);
            CAPTURE(to_string(family));
            world.mark();
            CHECK(fate(world.client.netns(), {.to = row.target}) == "reset");
            const auto line = world.one.access_log().wait_for(
                {{"direction", "outbound"}, {"dst.hbone_addr", row.hbone}, {"error", "io error: " + refused}});
            CHECK(line.level == "error");
            CHECK(line.message == "connection complete");
            CHECK(line["bytes_sent"] == "0");
        }
    }
}

TEST_CASE(
    "failure: a service without endpoints, or without that port, is refused before it has a context" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const SocketAddress& target : {world.vip("nobody", family), world.vip("far", family, 4711)}) {
            CAPTURE(target.to_string());
            world.mark();
            std::string client;
            const auto bind_and_tell = [&](int fd) {
                bind_anywhere(fd, false, {world.client.ip(family), 0});
                client = culvert::base::local_address(fd).to_string();
            };
            CHECK(fate(world.client.netns(), {.to = target, .prepare = bind_and_tell}) == "reset");
            const auto line = world.one.access_log().wait_for({{"dst.addr", target.to_string()}});
            CHECK(line.level == "warn");
            CHECK(line.message == "connection failed");
            CHECK(line.shape() == std::vector<std::string>{"src.addr", "dst.addr", "direction=quoted", "error=quoted"});
            CHECK(line["src.addr"] == client);
            CHECK(line["error"] == "no healthy upstream: " + target.to_string());
        }
    }
}

TEST_CASE("failure: plaintext to a closed port of an enrolled pod ends, and the line says why" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        world.mark();
        CHECK(fate(world.plain1.netns(), {.to = world.far.at(family, 9)}) == "reset");
        const auto line = world.two.access_log().wait_for({{"direction", "inbound"},
                                                           {"dst.addr", world.far.at(family, 9).to_string()},
                                                           {"error", "connection failed: " + refused}});
        CHECK(line.level == "error");
    }
}

TEST_CASE("failure: a call to the mesh's own ports is not carried round in circles" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (std::uint16_t port : {15001, 15006, 15008}) {
            CAPTURE(to_string(family));
            CAPTURE(port);
            // Without a word of ours, which might meet the reset half-way.
            const std::string end = fate(world.client.netns(), {.to = world.far.at(family, port)}, 15s);
            CHECK_MESSAGE((end == "end" || end == "reset"), end);
        }
    }
}

TEST_CASE(
    "failure: what is never answered ends after the connect limit, and the line names the port to look "
    "at" BOTH_FAMILIES) {
    World& world = World::shared();
    world.mark();
    struct Call {
        std::string field;
        SocketAddress target;
        Connection app;
        std::string error;
    };
    std::vector<Call> calls;
    for (Family family : families()) {
        calls.push_back({"dst.hbone_addr", world.lost.at(family, 8080), world.client.dial(world.vip("lost", family)),
                         maybe_policy});
        const SocketAddress unknown{*IpAddress::parse(family == Family::v4 ? "10.71.2.99" : "fd71:0:0:2::99"), 8080};
        world.lab.lose(unknown.ip, 2);
        calls.push_back({"dst.addr", unknown, world.client.dial(unknown), "io error: "});
    }
    for (Call& call : calls) {
        CAPTURE(call.target.to_string());
        CHECK(call.app.ending(20s) == "reset");
        const auto line =
            world.one.access_log().wait_for({{"direction", "outbound"}, {call.field, call.target.to_string()}});
        CHECK(line.level == "error");
        CHECK_MESSAGE(line["error"].starts_with(call.error), line.raw);
    }
}

TEST_CASE(
    "failure: a node that disappears takes its connections with it, and a new one is found when it is back" IPV4) {
    World world;
    Server echo{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Connection tunnelled = world.client.dial(world.far.at(Family::v4, 8080));
    Connection local = world.client.dial(world.near.at(Family::v4, 8080));
    CHECK(tunnelled.echoes("here?"));
    CHECK(local.echoes("here?"));
    world.mark();
    world.lab.pull_wire();
    tunnelled.send("anybody?");
    CHECK(tunnelled.ending(60s) == "reset");
    const auto line = world.one.access_log().wait_for(
        {{"direction", "outbound"}, {"dst.hbone_addr", world.far.at(Family::v4, 8080).to_string()}});
    CHECK(line["error"] != "");
    CHECK(local.echoes("and you?"));

    world.lab.plug_wire();
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("back"));
}

}
