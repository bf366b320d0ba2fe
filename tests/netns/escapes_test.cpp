// SPDX-License-Identifier: Apache-2.0
// Ways around the proxy that an app may try with what a container is allowed to do, and a few with more.
#include <doctest/doctest.h>

#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "app_socket.hpp"
#include "outcome.hpp"
#include "persona.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

constexpr int repair_off_without_probe = -1;  // TCP_REPAIR_OFF_NO_WP, of linux/tcp.h

// Established without a handshake, as tools that move live connections do.
int connect_in_repair(int fd, const sockaddr* to, socklen_t length) {
    const int on = TCP_REPAIR_ON;
    if (::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0) return errno;
    if (::connect(fd, to, length) != 0) return errno;
    return ::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &repair_off_without_probe, sizeof(int)) == 0 ? 0 : errno;
}

}

TEST_SUITE("escapes") {

TEST_CASE(
    "escape: an app's own mark exempts it from nothing, whatever it is and whatever it may do" BOTH_FAMILIES EBPF_ONLY(
        "its rules let through what bears the mark of its proxy, which any container with NET_RAW may set")) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const unsigned mark : {0x539U, 0x111U, 0xabc000U}) {
            CAPTURE(to_string(family));
            CAPTURE(mark);
            const Dial marked{.prepare = [mark](int fd) { set_mark(fd, mark); }};
            check_sealed(world, family, marked);
            check_sealed(world, family, with_only(CAP_NET_RAW, marked));
        }
    }
}

TEST_CASE("escape: an app that sets the mark of refusal refuses itself, at once" BOTH_FAMILIES EBPF_ONLY(
    "its rules have no such mark")) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const SocketAddress target = world.far.at(family, 8080);
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        const Dial marked{.to = target, .prepare = [](int fd) { set_mark(fd, 0x112); }};
        CHECK(attempt(world.client.netns(), marked).error == EACCES);
        CHECK(attempt(world.client.netns(), with_only(CAP_NET_RAW, marked)).error == EACCES);
        CHECK(let_out(cable.packets(), {target.ip}, secret) == "");
    }
}

TEST_CASE(
    "escape: a captured socket that is bound or marked anew in mid-flow sends nothing past the proxy" BOTH_FAMILIES
        EBPF_ONLY(
            "the rules see the first packet only; what follows goes where the socket's device and mark send it")) {
    World& world = World::shared();
    ReasonCount stopped{world.one, "GUARD_CAPTURED"};
    Server echo{world.far.netns(), 8080, apps::echo};
    struct Row {
        std::string name;
        std::function<void(int)> change;
    };
    const auto bind_without_rights = [](int fd) { as(become_nobody, [fd] { bind_to_device(fd); }); };
    const auto take_mark_off = [](int fd) { as([] { keep_only({CAP_NET_RAW}); }, [fd] { set_mark(fd, 0); }); };
    for (Family family : families()) {
        for (const Row& row : {Row{"bound to a device by an app without rights", bind_without_rights},
                               Row{"mark taken off by one with NET_RAW", take_mark_off}}) {
            for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)}) {
                CAPTURE(row.name);
                CAPTURE(target.to_string());
                Tap cable{world.lab.node_netns(1), world.client.host_link()};
                Connection app = world.client.dial(target);
                CHECK(app.echoes("before"));
                row.change(app.fd());
                app.send(secret);
                app.ending(500ms);  // it may hang or go on through the proxy, as long as nothing of it leaves
                CHECK(let_out(cable.packets(), {target.ip, world.far.ip(family)}, secret) == "");
            }
        }
    }
    CHECK(stopped.rises());
}

TEST_CASE("escape: a connection made up with TCP_REPAIR ends, and nothing of it is on the wire" BOTH_FAMILIES) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)}) {
            CAPTURE(target.to_string());
            Tap cable{world.lab.node_netns(1), world.client.host_link()};
            Connection app = world.client.dial(Dial{.to = target, .connect = connect_in_repair});
            app.send(secret);
            CHECK(app.ending() == "reset");
            CHECK(let_out(cable.packets(), {target.ip, world.far.ip(family)}, secret) == "");
        }
    }
    CHECK(echo.guests().empty());
}

}
