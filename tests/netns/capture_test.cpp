// SPDX-License-Identifier: Apache-2.0
// Who else gets to a pod's apps and listeners, and what the kernel side does when it is short of something.
#include <doctest/doctest.h>

#include "app_socket.hpp"
#include "outcome.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

TEST_SUITE("capture") {

TEST_CASE("capture: a listener with a mark of its own is reached through the mesh all the same" BOTH_FAMILIES) {
    World& world = World::shared();
    ReasonCount zeroed{world.one, "LISTEN_MARK_ZEROED"};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.near.netns(), 8080, apps::echo, [](int fd) { set_mark(fd, 0x77); }};
        CHECK(world.client.dial(world.near.at(family, 8080)).echoes("tunnelled"));
        CHECK(world.plain1.dial(world.near.at(family, 8080)).echoes("plain"));
    }
    CHECK(zeroed.rises(2));
}

TEST_CASE("capture: a packet from outside in the pod's own name does not reach its app" IPV6) {
    World& world = World::shared();
    ReasonCount forged{world.one, "GUARD_FORGED"};
    const auto own = world.client.at(Family::v6, 4444);
    Server echo{world.client.netns(), 0, apps::echo};
    send_raw(world.lab.node_netns(1), ipv6_syn(own, world.client.at(Family::v6, echo.port())));
    CHECK(forged.rises());
    CHECK(echo.guests().empty());
}

TEST_CASE("capture: a connection from outside to an address that is not the pod's is dropped, not carried" IPV4
              EBPF_ONLY("the rules redirect whatever arrives, for whatever address")) {
    World& world = World::shared();
    ReasonCount foreign{world.one, "DROP_FOREIGN"};
    must({"ip", "route", "replace", "local", "192.0.2.0/24", "dev", "lo"}, world.near.netns());
    must({"ip", "route", "replace", "192.0.2.0/24", "via", world.near.ip(Family::v4).to_string()},
         world.lab.node_netns(1));
    Server echo{world.near.netns(), 8080, apps::echo};
    CHECK(world.plain1.attempt({*IpAddress::parse("192.0.2.5"), 8080}, 500ms).error != 0);
    CHECK(foreign.rises());
    CHECK(echo.guests().empty());
    must({"ip", "route", "del", "local", "192.0.2.0/24", "dev", "lo"}, world.near.netns());
}

TEST_CASE("capture: with the flow table full, connections go on without a row" IPV4 EBPF_ONLY(
    "there is no flow table without programs that fill it")) {
    World world{[](Mesh& mesh) { mesh.settings.extra = "limits: {maxFlows: 4}\n"; }};
    ReasonCount full{world.one, "FLOWS_FULL"};
    Server echo{world.far.netns(), 8080, apps::echo};
    std::vector<Connection> open;
    for (int i = 0; i < 12; ++i) open.push_back(world.client.dial(world.far.at(Family::v4, 8080)));
    for (Connection& app : open) CHECK(app.echoes("unlisted"));
    CHECK(full.rises());
    CHECK(total(world.one.metrics(), "culvert_proxy_flows_unlisted_total") > 0);
}

TEST_CASE("capture: a worker that falls behind is spared, and every connection is served in the end" IPV4 EBPF_ONLY(
    "the rules redirect to a port, and know nothing of who is behind it")) {
    World world{[](Mesh& mesh) {
        // The listeners' backlog is the smaller of theirs and the netns's limit.
        for (Workload& workload : mesh.workloads)
            if (workload.pod->name() == "client")
                must({"sysctl", "-w", "net.core.somaxconn=16"}, workload.pod->netns());
    }};
    Server echo{world.far.netns(), 8080, apps::echo};
    ReasonCount crowded{world.one, "SLOT_CROWDED"};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("warm"));
    world.one.pause();
    std::vector<Connection> waiting;
    for (int i = 0; i < 22; ++i) waiting.push_back(world.client.dial(world.far.at(Family::v4, 8080)));
    world.one.resume();
    for (Connection& app : waiting) CHECK(app.echoes("served"));
    CHECK(crowded.rises());
}

}
