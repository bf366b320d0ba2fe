// SPDX-License-Identifier: Apache-2.0
// Sockets that are older than their pod's membership: connected, half connected, not connected, listening.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <vector>

#include "app_socket.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

Fd socket_in(const Pod& pod, Family family) {
    return visit(pod.netns(), [&] {
        Fd socket{::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const timeval limit{10, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return socket;
    });
}

// Leaves it in SYN_SENT when nobody answers.
void begin_connecting(int fd, const SocketAddress& to) {
    sockaddr_storage raw{};
    const socklen_t length = to.to(raw);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) == -1);
    REQUIRE(errno == EINPROGRESS);
}

}

TEST_SUITE("early") {

TEST_CASE("early: a socket made before its pod joined is captured when it connects" BOTH_FAMILIES) {
    World world;
    Pod& late = world.plain1;
    Server far{world.far.netns(), 8080, apps::echo};
    world.describe(late);
    struct Row {
        std::string name;
        std::function<void(int)> prepare;
    };
    struct Waiting {
        Family family;
        std::string name;
        Connection app;
    };
    std::vector<Waiting> waiting;
    for (Family family : families()) {
        const auto bind_to_own = [&](int fd) { bind_anywhere(fd, false, {late.ip(family), 0}); };
        for (const Row& row : {Row{"bare", [](int) {}}, Row{"bound to the pod's address", bind_to_own}}) {
            Connection app{socket_in(late, family)};
            row.prepare(app.fd());
            waiting.push_back({family, row.name, std::move(app)});
        }
    }
    world.join(late);
    for (Waiting& each : waiting) {
        CAPTURE(to_string(each.family));
        CAPTURE(each.name);
        Tap cable{world.lab.node_netns(1), late.host_link()};
        CHECK(each.app.reconnect(world.far.at(each.family, 8080)) == 0);
        CHECK(each.app.echoes(secret));
        CHECK(let_out(cable.packets(), {world.far.ip(each.family)}, secret) == "");
    }
}

TEST_CASE("early: a connection older than its pod's membership stays as it was, until it connects anew" BOTH_FAMILIES
              EBPF_ONLY("nothing was tracked before the rules came, so to them the connection's next packet is the "
                        "first of a new one")) {
    World world;
    Pod& late = world.plain1;
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    world.describe(late);
    Server own{late.netns(), 8080, apps::echo};
    struct Older {
        Family family;
        Connection out;
        Connection to_the_mesh;
        Connection in;
    };
    std::vector<Older> older;
    for (Family family : families())
        older.push_back({family, late.dial(world.plain2.at(family, 8080)), late.dial(world.far.at(family, 8080)),
                         world.plain2.dial(late.at(family, 8080))});
    const auto all_echo = [&](std::string_view text) {
        for (Older& each : older)
            for (Connection* app : {&each.out, &each.to_the_mesh, &each.in}) CHECK(app->echoes(text));
    };
    all_echo("before");
    world.join(late);
    {
        Tap cable{world.lab.node_netns(1), late.host_link()};
        all_echo("as it was");
        CHECK(holding(cable.packets(), "as it was").size() == 12);  // there and back, still in the clear
    }
    world.leave(late);
    all_echo("after all that");
    world.join(late);
    for (Older& each : older) {
        CAPTURE(to_string(each.family));
        Tap cable{world.lab.node_netns(1), late.host_link()};
        CHECK(each.out.reconnect(world.far.at(each.family, 8080)) == 0);
        CHECK(each.out.echoes(secret));
        CHECK(let_out(cable.packets(), {world.far.ip(each.family)}, secret) == "");
    }
}

TEST_CASE("early: a connection still being made when its pod joins is ended at once" BOTH_FAMILIES) {
    World world;
    Pod& late = world.plain1;
    world.describe(late);
    std::vector<Fd> half;
    for (Family family : families()) {
        half.push_back(socket_in(late, family));
        begin_connecting(half.back().get(), world.lost.at(family, 8080));
    }
    for (const Fd& socket : half) {
        pollfd state{socket.get(), POLLOUT, 0};
        CHECK(::poll(&state, 1, 0) == 0);
    }
    world.join(late);
    for (const Fd& socket : half) {
        pollfd state{socket.get(), POLLOUT, 0};
        CHECK(::poll(&state, 1, 10'000) == 1);
        int error = 0;
        socklen_t length = sizeof error;
        ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        CHECK(error == ECONNABORTED);
    }
}

TEST_CASE("early: a listener that had a mark of its own before its pod joined is reached all the same" BOTH_FAMILIES) {
    World world;
    Pod& late = world.plain1;
    world.describe(late);
    for (const unsigned mark : {0x77U, 0x539U, 0xabc000U}) {
        CAPTURE(mark);
        Server echo{late.netns(), 8080, apps::echo, [mark](int fd) { set_mark(fd, mark); }};
        world.join(late);
        for (Family family : families()) {
            CAPTURE(to_string(family));
            CHECK(world.client.dial(late.at(family, 8080)).echoes("tunnelled"));
            CHECK(world.plain2.dial(late.at(family, 8080)).echoes("plain"));
        }
        world.leave(late);
    }
}

}
