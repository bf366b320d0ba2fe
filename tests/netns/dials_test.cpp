// SPDX-License-Identifier: Apache-2.0
// What connect() and the socket tell the app, though somebody else has answered: what it would be told without a mesh.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "app_socket.hpp"
#include "finally.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

int pending_error(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

// As an event loop does it; 0 or the errno that SO_ERROR tells once the socket is writable.
int connect_without_waiting(int fd, const sockaddr* to, socklen_t length) {
    const int flags = ::fcntl(fd, F_GETFL);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (::connect(fd, to, length) != 0 && errno != EINPROGRESS) return errno;
    pollfd writable{fd, POLLOUT, 0};
    if (::poll(&writable, 1, 10'000) != 1) return ETIMEDOUT;
    ::fcntl(fd, F_SETFL, flags);
    return pending_error(fd);
}

void reset_at_once(Connection& connection) {
    const linger now{1, 0};
    ::setsockopt(connection.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    ::connect(connection.fd(), &nowhere, sizeof nowhere);  // a reset, and the descriptor stays
}

// plain1 answers for an address that nobody in the cluster has.
class Outside {
public:
    Outside(World& world, const std::string& ip, Family family) : world_{world}, ip_{ip} {
        must({"ip", "address", "replace", ip, "dev", "lo"}, world.plain1.netns());
        must({"ip", "route", "replace", ip, "via", world.plain1.ip(family).to_string()}, world.lab.node_netns(1));
    }
    Outside(const Outside&) = delete;
    ~Outside() {
        run({"ip", "route", "del", ip_}, world_.lab.node_netns(1));
        run({"ip", "address", "del", ip_, "dev", "lo"}, world_.plain1.netns());
    }

private:
    World& world_;
    std::string ip_;
};

}

TEST_SUITE("dials") {

TEST_CASE("dial: a connect that does not wait is in progress, then writable, and sealed like any other" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        check_sealed(world, family, {.connect = connect_without_waiting});
        if (family == Family::v4) check_sealed(world, family, {.mapped = true, .connect = connect_without_waiting});
    }
}

TEST_CASE(
    "dial: the app's socket shows what it dialled and the pod's own address, before, during and after" BOTH_FAMILIES) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)}) {
            CAPTURE(target.to_string());
            Connection app = world.client.dial(target);
            const SocketAddress own = app.local();
            CHECK(own.ip == world.client.ip(family));
            CHECK(app.peer() == target);
            CHECK(app.echoes("who am I"));
            CHECK(app.local() == own);
            CHECK(app.peer() == target);
            app.end_sending();
            CHECK(app.receive_all() == "");
            CHECK(app.local() == own);
        }
    }
}

TEST_CASE(
    "dial: a target that refuses is connected, then reset; one that resets ends as it does in ztunnel" BOTH_FAMILIES) {
    World& world = World::shared();
    Server resetting{world.plain2.netns(), 8080, reset_at_once};
    Server resetting_in_mesh{world.far.netns(), 8080, reset_at_once};
    struct Row {
        std::string name;
        SocketAddress target;
        std::vector<std::string> endings;
    };
    const std::vector<std::string> refused{"reset"};
    const std::vector<std::string> cut{"end", "reset"};  // docs/ARCHITECTURE.md, Ends
    for (Family family : families()) {
        for (const Row& row : {Row{"refuses, plain", world.plain2.at(family, 9), refused},
                               Row{"refuses, behind a tunnel", world.far.at(family, 9), refused},
                               Row{"no such port of a service", world.vip("far", family, 9), refused},
                               Row{"resets, plain", world.plain2.at(family, 8080), cut},
                               Row{"resets, behind a tunnel", world.vip("far", family), cut}}) {
            for (const Connector& connect : {Connector{}, Connector{connect_without_waiting}}) {
                CAPTURE(to_string(family));
                CAPTURE(row.name);
                const std::string ending = fate(world.client.netns(), {.to = row.target, .connect = connect});
                CHECK_MESSAGE(std::ranges::count(row.endings, ending) == 1, ending);
            }
        }
    }
}

TEST_CASE("dial: an address outside the cluster sees the pod itself, on the port that was asked for" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        const std::vector<std::string> addresses = family == Family::v4
                                                       ? std::vector<std::string>{"198.51.100.7", "169.254.169.254"}
                                                       : std::vector<std::string>{"2001:db8::7", "fd00:ec2::254"};
        for (const std::string& address : addresses) {
            CAPTURE(address);
            Outside outside{world, address, family};
            const SocketAddress target{*IpAddress::parse(address), 4433};
            Server echo{world.plain1.netns(), target.port, apps::echo};
            world.mark();
            Connection app = world.client.dial(target);
            const SocketAddress client = app.local();
            CHECK(app.peer() == target);
            CHECK(app.echoes("hello"));
            app.close();
            CHECK(echo.guest(0).to == target);
            CHECK(echo.guest(0).from.ip == world.client.ip(family));
            const auto line = world.one.access_log().wait_for({{"direction", "outbound"},
                                                               {"src.addr", client.to_string()},
                                                               {"src.workload", "client"},
                                                               {"dst.addr", target.to_string()}});
            CHECK(line["dst.hbone_addr"] == "");
        }
    }
}

}
