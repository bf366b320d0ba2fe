// SPDX-License-Identifier: Apache-2.0
// Who reaches whom, what the app sees, and what passes the wire.
#include <doctest/doctest.h>

#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "nobody-on-the-wire-reads-this";

// The pod's own port, or the same through its service.
SocketAddress address_of(World& world, const Pod& pod, bool by_vip, Family family) {
    return by_vip ? world.vip(pod.name(), family) : pod.at(family, 8080);
}

}

TEST_SUITE("calls") {

TEST_CASE("call: between enrolled pods it goes through a tunnel, and the app sees the client" BOTH_FAMILIES) {
    World& world = World::shared();
    struct Row {
        std::string name;
        Pod& server;
        bool by_vip;
    };
    for (Family family : families()) {
        for (const Row& row :
             {Row{"cross-node by VIP", world.far, true}, Row{"cross-node by pod IP", world.far, false},
              Row{"same node by VIP", world.near, true}, Row{"same node by pod IP", world.near, false}}) {
            CAPTURE(row.name);
            CAPTURE(to_string(family));
            const SocketAddress target = address_of(world, row.server, row.by_vip, family);
            const SocketAddress pod_target = row.server.at(family, 8080);
            Server echo{row.server.netns(), 8080, apps::echo};
            Tap cable{world.lab.node_netns(1), world.client.host_link()};
            world.mark();

            Connection app = world.client.dial(target);
            CHECK(app.peer() == target);
            CHECK(app.local().ip == world.client.ip(family));
            CHECK(app.echoes(secret));
            const SocketAddress client = app.local();
            app.end_sending();
            CHECK(app.receive_all() == "");

            CHECK(echo.guest(0).from.ip == world.client.ip(family));
            CHECK(echo.guest(0).to == pod_target);
            const std::string tunnel = row.server.at(family, 15008).to_string();
            world.one.access_log().wait_for(
                {{"direction", "outbound"},
                 {"src.addr", client.to_string()},
                 {"dst.addr", tunnel},
                 {"dst.hbone_addr", pod_target.to_string()},
                 {"dst.service", row.by_vip ? row.server.name() + ".ns.svc.cluster.local" : ""},
                 {"dst.identity", world.mesh.identity(row.server)},
                 {"bytes_sent", std::to_string(secret.size())}});
            world.node_of(row.server)
                .access_log()
                .wait_for({{"direction", "inbound"},
                           {"dst.hbone_addr", pod_target.to_string()},
                           {"src.identity", world.mesh.identity(world.client)},
                           {"bytes_recv", std::to_string(secret.size())}});

            const auto passed = cable.packets();
            CHECK_FALSE(passed.empty());
            CHECK_MESSAGE(outside_tunnels(passed).empty(), Tap::list(outside_tunnels(passed)));
            CHECK_MESSAGE(not_tls(passed).empty(), Tap::list(not_tls(passed)));
            CHECK(holding(passed, secret).empty());
        }
    }
}

TEST_CASE("call: to a workload of protocol TCP and to pods unknown to the mesh it goes out as it is" BOTH_FAMILIES) {
    World& world = World::shared();
    struct Row {
        std::string name;
        Pod& server;
        bool by_vip;
    };
    for (Family family : families()) {
        for (const Row& row :
             {Row{"TCP workload by VIP", world.tcp2, true}, Row{"TCP workload by pod IP", world.tcp2, false},
              Row{"TCP workload on the node", world.tcp1, false}, Row{"unknown pod cross-node", world.plain2, false},
              Row{"unknown pod on the node", world.plain1, false}}) {
            CAPTURE(row.name);
            CAPTURE(to_string(family));
            const SocketAddress target = row.by_vip ? world.vip("tcp", family) : row.server.at(family, 8080);
            Server echo{row.server.netns(), 8080, apps::echo};
            world.mark();

            Connection app = world.client.dial(target);
            const SocketAddress client = app.local();
            CHECK(app.echoes("plain"));
            app.close();

            CHECK(echo.guest(0).from.ip == world.client.ip(family));
            CHECK(echo.guest(0).to == row.server.at(family, 8080));
            const auto line = world.one.access_log().wait_for({{"direction", "outbound"},
                                                               {"src.addr", client.to_string()},
                                                               {"dst.addr", row.server.at(family, 8080).to_string()}});
            CHECK(line["dst.hbone_addr"] == "");
            CHECK(line["src.identity"] == "");
        }
    }
}

TEST_CASE("call: a pod outside the mesh reaches an enrolled one on any port, as itself" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (Pod* from : {&world.plain1, &world.tcp1, &world.plain2}) {
            for (std::uint16_t port : {22, 80, 8080, 49152}) {
                CAPTURE(from->name());
                CAPTURE(to_string(family));
                CAPTURE(port);
                Server echo{world.far.netns(), port, apps::echo};
                world.mark();
                Connection app = from->dial(world.far.at(family, port));
                const SocketAddress client = app.local();
                CHECK(app.echoes("hello"));
                app.close();

                CHECK(echo.guest(0).from.ip == from->ip(family));
                CHECK(echo.guest(0).to == world.far.at(family, port));
                const auto line =
                    world.two.access_log().wait_for({{"direction", "inbound"},
                                                     {"src.addr", client.to_string()},
                                                     {"dst.addr", world.far.at(family, port).to_string()}});
                CHECK(line["src.identity"] == "");
                CHECK(line["dst.workload"] == "far");
            }
        }
    }
}

TEST_CASE("call: a service with endpoints on both nodes uses both" IPV4) {
    World& world = World::shared();
    Server near{world.near.netns(), 8080, apps::greet("near")};
    Server far{world.far.netns(), 8080, apps::greet("far!")};
    int from_near = 0;
    int from_far = 0;
    for (int call = 0; call < 200 && (from_near == 0 || from_far == 0); ++call) {
        const std::string who = world.client.dial(world.vip("both", Family::v4)).receive(4);
        (who == "near" ? from_near : from_far) += 1;
    }
    CHECK(from_near > 0);
    CHECK(from_far > 0);
}

TEST_CASE("call: a pod reaches itself through its own service, by way of the mesh" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.client.netns(), 8080, apps::echo};
        world.mark();
        Connection app = world.client.dial(world.vip("self", family));
        CHECK(app.echoes("me"));
        app.close();
        world.one.access_log().wait_for(
            {{"direction", "inbound"}, {"dst.hbone_addr", world.client.at(family, 8080).to_string()}});
        world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.service", "self.ns.svc.cluster.local"}});
    }
}

}
