// SPDX-License-Identifier: Apache-2.0
// Ports that both an app and the mesh may want: the app gets them all, but a tunnel is the proxy's.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <algorithm>
#include <sstream>

#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

constexpr const char* takes_ports = "its proxy listens on 15001, 15006 and 15008 of the pod, so the app cannot";

// Where the proxy's listeners are: on documentation addresses.
std::vector<SocketAddress> listeners_in(const Pod& pod) {
    std::vector<SocketAddress> found;
    std::istringstream lines{must({"ss", "-Hltn"}, pod.netns())};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string place;
        for (int i = 0; i < 4; ++i) words >> place;
        const auto address = SocketAddress::parse(place);
        if (address && (place.starts_with("192.0.2.") || place.starts_with("[2001:db8"))) found.push_back(*address);
    }
    return found;
}

int try_to_listen(const Pod& pod, const SocketAddress& at) {
    return visit(pod.netns(), [&] {
        Fd socket{::socket(at.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const int one = 1;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        sockaddr_storage raw{};
        const socklen_t length = at.to(raw);
        if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0) return errno;
        return ::listen(socket.get(), 8) == 0 ? 0 : errno;
    });
}

}

TEST_SUITE("ports") {

TEST_CASE("ports: an app on 15008 keeps its port and is never called; tunnels are the proxy's" BOTH_FAMILIES EBPF_ONLY(
    takes_ports)) {
    World world;
    Pod& late = world.plain1;
    world.describe(late);
    Server before{late.netns(), 15008, apps::echo};
    Server after{world.near.netns(), 15008, apps::echo};
    world.join(late);
    for (Family family : families()) {
        for (Pod* pod : {&world.near, &late}) {
            CAPTURE(pod->name());
            CAPTURE(to_string(family));
            Server echo{pod->netns(), 8080, apps::echo};
            CHECK(world.client.dial(pod->at(family, 8080)).echoes("tunnelled here"));
            CHECK(world.far.dial(pod->at(family, 8080)).echoes("tunnelled there"));
            CHECK(fate(world.plain2.netns(), {.to = pod->at(family, 15008)}, 100ms) == "silence");  // for a handshake
            CHECK(pod->dial(pod->at(family, 15008)).echoes("with itself"));
        }
    }
    for (const Server* app : {&before, &after}) CHECK(app->guests().size() == families().size());
}

TEST_CASE("ports: the app's own doors and resolvers are where the node has its own" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const std::uint16_t port : {15000, 15020, 15021, 15053}) {
            CAPTURE(to_string(family));
            CAPTURE(port);
            Server in_mesh{world.near.netns(), port, apps::echo};
            Server outside{world.plain2.netns(), port, apps::echo};
            CHECK(world.plain1.dial(world.near.at(family, port)).echoes("plain in"));
            CHECK(world.client.dial(world.near.at(family, port)).echoes("sealed"));
            CHECK(world.client.dial(world.plain2.at(family, port)).echoes("plain out"));
            CHECK(in_mesh.guest(0).to == world.near.at(family, port));
            CHECK(in_mesh.guest(0).from.ip == world.plain1.ip(family));
        }
    }
}

TEST_CASE(
    "ports: 15001 and 15006 are an app's within its pod; calls from elsewhere are refused, as by ztunnel" BOTH_FAMILIES
        EBPF_ONLY(takes_ports)) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const std::uint16_t port : {15001, 15006}) {
            CAPTURE(to_string(family));
            CAPTURE(port);
            Server app{world.near.netns(), port, apps::echo};
            const SocketAddress target = world.near.at(family, port);
            CHECK(world.near.dial(target).echoes("with itself"));
            for (const Pod* caller : {&world.client, &world.plain1, &world.plain2})
                CHECK(fate(caller->netns(), {.to = target}) == "reset");
            CHECK(app.guests().size() == 1);
        }
    }
}

TEST_CASE("ports: the proxy's own is one that an app can only miss, not take or reach" BOTH_FAMILIES EBPF_ONLY(
    "its proxy's ports are on every address")) {
    World& world = World::shared();
    const auto listeners = listeners_in(world.near);
    REQUIRE_FALSE(listeners.empty());
    const std::uint16_t port = listeners[0].port;
    CHECK(std::ranges::all_of(listeners, [&](const SocketAddress& each) { return each.port == port; }));
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const int raw_family = family == Family::v4 ? AF_INET : AF_INET6;
        // On all addresses it is taken, whatever the app asks for; on one of its own it is not.
        CHECK(try_to_listen(world.near, {IpAddress::any(raw_family), port}) == EADDRINUSE);
        CHECK(try_to_listen(world.near, world.near.at(family, port)) == 0);
        const auto listener =
            std::ranges::find(listeners, raw_family, [](const auto& each) { return each.ip.family(); });
        REQUIRE(listener != listeners.end());
        const std::string end = fate(world.near.netns(), {.to = *listener});
        CHECK_MESSAGE((end == "end" || end == "reset"), end);
        CHECK(attempt(world.plain1.netns(), {.to = *listener, .limit = 200ms}).error != 0);
        const IpAddress loopback = *IpAddress::parse(family == Family::v4 ? "127.0.0.1" : "::1");
        CHECK(world.near.attempt({loopback, port}).error == ECONNREFUSED);
        Server echo{world.near.netns(), 8080, apps::echo};
        CHECK(world.client.dial(world.near.at(family, 8080)).echoes("none the worse"));
    }
    CHECK(world.one.ready());
}

}
