// SPDX-License-Identifier: Apache-2.0
// Packets from outside that say they come from the pod or from its proxy, and packets of the proxy's last step to the
// app, which must not be outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "outcome.hpp"
#include "process.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

std::string syn(const SocketAddress& from, const SocketAddress& to) {
    return to.ip.is_v4() ? ipv4_syn(from, to) : ipv6_syn(from, to);
}

// An IPv6 packet cannot be told by SocketAddress to come from a mapped address: that is IPv4 to it.
std::string from_mapped(const IpAddress& ip, const SocketAddress& to) {
    std::string packet = ipv6_syn({*IpAddress::parse("::1"), 4444}, to);
    return packet.replace(8, 16, reinterpret_cast<const char*>(ip.bytes.data()), 16);
}

bool answered(const Tap& cable, std::uint16_t port) {
    return eventually(300ms, [&] {
        return std::ranges::any_of(cable.packets(), [&](const Packet& packet) { return packet.to.port == port; });
    });
}

std::string half_open(const Pod& pod) {
    return must({"ss", "-Hatn", "state", "syn-recv"}, pod.netns());
}

// What is on the cable of somebody who talks with the target and is not the client that dialled it.
std::vector<Packet> strangers(const Tap& cable, const SocketAddress& client, const SocketAddress& target) {
    auto packets = cable.packets();
    std::erase_if(packets, [&](const Packet& packet) {
        return packet.from == target ? packet.to == client : packet.to != target || packet.from == client;
    });
    return packets;
}

}

TEST_SUITE("forged") {

TEST_CASE("forged: from outside, in the name of the pod or of its loopback, nothing is answered" BOTH_FAMILIES) {
    World& world = World::shared();
    const int node = world.lab.node_netns(1);
    for (Family family : families()) {
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        Tap cable{node, world.near.host_link()};
        // The same from somebody else is answered, so the packet as such is right.
        send_into(world.near, node, syn(world.plain1.at(family, 4440), target));
        CHECK(answered(cable, 4440));

        ReasonCount forged{world.one, "GUARD_FORGED"};
        const bool v4 = family == Family::v4;
        std::vector<std::string> packets{syn(world.near.at(family, 4444), target),
                                         syn({*IpAddress::parse(v4 ? "127.0.0.1" : "::1"), 4444}, target)};
        if (v4) packets.push_back(syn({*IpAddress::parse("127.9.9.9"), 4444}, target));
        if (!v4)
            for (const char* ip : {"127.0.0.1", "10.71.1.11"})
                packets.push_back(from_mapped(*IpAddress::parse(ip), target));
        for (const std::string& packet : packets) send_into(world.near, node, packet);
        CHECK(forged.rises());
        CHECK_FALSE(answered(cable, 4444));
        CHECK(half_open(world.near).find("4444") == std::string::npos);
        CHECK(echo.guests().empty());
    }
}

TEST_CASE("forged: from outside, in the name of the proxy's step to the app, it changes nothing" BOTH_FAMILIES) {
    World& world = World::shared();
    const int node = world.lab.node_netns(1);
    for (Family family : families()) {
        Server echo{world.near.netns(), 8080, apps::echo};
        const SocketAddress target = world.near.at(family, 8080);
        for (const Pod* caller : {&world.client, &world.plain1}) {
            CAPTURE(caller->name());
            CAPTURE(to_string(family));
            ReasonCount forged{world.one, "GUARD_FORGED"};
            Connection app = caller->dial(target);
            CHECK(app.echoes("before"));
            send_into(world.near, node, syn(echo.last_guest().from, target));
            CHECK(forged.rises());
            CHECK(app.echoes("after"));
        }
        CHECK(echo.guests().size() == 2);
    }
}

TEST_CASE("forged: nothing of the proxy's step to the app is outside, however it ends" BOTH_FAMILIES) {
    World& world = World::shared();
    struct Row {
        std::string name;
        std::function<void(Connection&, std::unique_ptr<Server>&)> ends;
    };
    const std::vector<Row> rows{{"by the caller", [](Connection& app, auto&) { app.close(); }},
                                {"by a reset of the caller's", [](Connection& app, auto&) { app.reset(); }},
                                {"by the app",
                                 [](Connection& app, auto& server) {
                                     server.reset();
                                     app.ending();
                                     app.close();
                                 }},
                                {"by the app, which has not read all", [](Connection& app, auto& server) {
                                     app.send(std::string(100'000, 'x'));
                                     server.reset();
                                     app.ending();
                                     app.close();
                                 }}};
    for (Family family : families()) {
        for (const Row& row : rows) {
            for (const Pod* caller : {&world.client, &world.plain1, &world.plain2}) {
                INFO(row.name, ", called by ", caller->name(), ", ", to_string(family));
                auto server = std::make_unique<Server>(world.near.netns(), 0, apps::echo);
                const SocketAddress target = world.near.at(family, server->port());
                Tap cable{world.lab.node_netns(1), world.near.host_link()};
                Connection app = caller->dial(target);
                const SocketAddress own = app.local();
                CHECK(app.echoes("some bytes"));
                const SocketAddress server_leg = server->guest(0).from;
                row.ends(app, server);
                const std::string leg = std::to_string(server_leg.port);
                CHECK(eventually(15s, [&] {
                    return run({"ss", "-Htn", "dport", leg}, world.near.netns()).text == "";
                }));
                CHECK_MESSAGE(strangers(cable, own, target).empty(), Tap::list(strangers(cable, own, target)));
            }
        }
        // Nor of one that is refused.
        Tap cable{world.lab.node_netns(1), world.near.host_link()};
        const SocketAddress closed = world.near.at(family, 9);
        const SocketAddress own = world.plain1.at(family, 45'678);
        CHECK(fate(world.client.netns(), {.to = closed}) == "reset");
        CHECK(fate(world.plain1.netns(), {.to = closed, .from = own}) == "reset");
        CHECK_MESSAGE(strangers(cable, own, closed).empty(), Tap::list(strangers(cable, own, closed)));
    }
}

}
