// SPDX-License-Identifier: Apache-2.0
// Envoy in the place of the other node: our outbound dials it, and it ends each CONNECT at the app.
#include <doctest/doctest.h>

#include <cstdlib>

#include "exchange.hpp"
#include "outcome.hpp"
#include "peers.hpp"

using namespace culvert::test;

namespace {

std::uint64_t bulk() {
    return (std::getenv("CULVERT_LONG") != nullptr ? 1024 : 256) * mebibyte;
}

// "down" is said to speak HBONE, and nobody does: this is where Envoy comes in.
Envoy in_place_of_the_other_node(World& world, const std::string& options = "") {
    return envoy_server(world.lab, world.down, "default", options);
}

}

TEST_SUITE("envoy server") {

TEST_CASE("envoy server: is asked as ztunnel asks, in TLS 1.3, by VIP and by pod IP" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_place_of_the_other_node(world);
    Server server{world.down.netns(), 8080, apps::echo};
    for (Family family : families()) {
        for (const SocketAddress& target : {world.vip("down", family), world.down.at(family, 8080)}) {
            CAPTURE(target.to_string());
            world.mark();
            Connection app = world.client.dial(target);
            CHECK(app.echoes("through another's hands"));
            app.end_sending();
            CHECK(app.receive_all() == "");
            const std::string pod = world.down.at(family, 8080).to_string();
            const AccessLine line = world.one.access_log().wait_for(
                {{"dst.hbone_addr", pod}, {"direction", "outbound"}, {"bytes_sent", "23"}, {"bytes_recv", "23"}});
            CHECK(line["dst.identity"] == "spiffe://cluster.local/ns/ns/sa/default");
            CHECK(line["error"] == "");
            // Its own log: no path, and our names for the source. The scheme is its own addition.
            const std::string forwarded = "forwarded=for=\"" + app.local().to_string() + "\"";
            const auto told = [&] {
                const std::string log = envoy.access_log();
                const auto at = log.find(forwarded);
                const auto begin = at == std::string::npos ? at : log.rfind("CONNECT authority=" + pod + " ", at);
                return begin == std::string::npos ? "" : log.substr(begin, log.find('\n', at) - begin);
            };
            CHECK(eventually(5s, [&] { return !told().empty(); }));
            const std::string own = told();
            CAPTURE(own);
            for (const char* part : {" path=- ", "k8s.namespace.name=ns ", "traceparent=00-",
                                     "peer=spiffe://cluster.local/ns/ns/sa/client tls=TLSv1.3 HTTP/2 200 flags=- "}) {
                CAPTURE(part);
                CHECK(own.find(part) != std::string::npos);
            }
        }
    }
    CHECK(envoy.log().find("error") == std::string::npos);
}

TEST_CASE("envoy server: 200 connections share two tunnels" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        Envoy envoy = in_place_of_the_other_node(world, ", max_concurrent_streams: 1000");
        Server server{world.down.netns(), 8080, apps::echo};
        CAPTURE(to_string(family));
        // One after the other: more than a hundred at once would have more tunnels made, before it has said what it
        // allows.
        std::vector<Connection> open;
        int right = 0;
        while (open.size() < 200) {
            open.push_back(world.client.dial(world.vip("down", family)));
            right += open.back().echoes("number " + std::to_string(open.size()));
        }
        for (Connection& connection : open) right += connection.echoes("all at the same time");
        CHECK(right == 400);
        // One for each of the two workers; so one of them has a hundred streams at least.
        CHECK(envoy.stat("http.hbone.downstream_cx_total") <= 2);
        CHECK(envoy.stat("http.hbone.downstream_rq_active") == 200);
    }
}

TEST_CASE("envoy server: 256 MiB each way arrive as they were sent" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_place_of_the_other_node(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        CHECK(exchange(world.client, world.vip("down", family), world.down, bulk(), Ends::client_first) == "");
    }
}

TEST_CASE("envoy server: windows of 64 KiB and of 1 GiB, frames as large as they go" IPV4) {
    World& world = World::shared();
    for (const std::string options :
         {", initial_stream_window_size: 65535, initial_connection_window_size: 65535, max_concurrent_streams: 1",
          ", initial_stream_window_size: 1073741824, initial_connection_window_size: 1073741824"}) {
        CAPTURE(options);
        Envoy envoy = in_place_of_the_other_node(world, options);
        CHECK(exchange(world.client, world.vip("down", Family::v4), world.down, 32 * mebibyte, Ends::client_first) ==
              "");
        // With one stream allowed, each of these has a tunnel of its own.
        Server server{world.down.netns(), 8080, apps::echo};
        std::vector<Connection> open;
        for (int i = 0; i < 5; ++i) open.push_back(world.client.dial(world.vip("down", Family::v4)));
        for (Connection& connection : open) CHECK(connection.echoes("beside the others"));
    }
}

TEST_CASE(
    "envoy server: the client may end first; where the server does, what it said arrives, and Envoy ends the "
    "rest" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_place_of_the_other_node(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        {
            Server server{world.down.netns(), 8080, apps::count_then_answer};
            Connection app = world.client.dial(world.vip("down", family));
            pour(app, Pattern{1}, mebibyte);
            app.end_sending();
            CHECK(app.receive_all() == std::to_string(mebibyte));
        }
        // Envoy ends a CONNECT as a whole when its app has ended its half.
        Server server{world.down.netns(), 8080, [&](Connection& connection) {
                          connection.send("that is all");
                          connection.end_sending();
                          connection.ending();
                      }};
        world.mark();
        Connection app = world.client.dial(world.vip("down", family));
        CHECK(app.receive_all() == "that is all");
        CHECK_THROWS_AS(pour(app, Pattern{1}, 64 * mebibyte), std::system_error);
        app.close();
        CHECK(world.one.access_log().wait_for({{"bytes_recv", "11"}})["error"].find("broken pipe") !=
              std::string::npos);
    }
}

TEST_CASE(
    "envoy server: killed, it takes its connections with it, with a reason; new ones work once it is "
    "back" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_place_of_the_other_node(world);
    Server server{world.down.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Connection app = world.client.dial(world.vip("down", family));
        REQUIRE(app.echoes("before"));
        world.mark();
        envoy.kill9();
        CHECK(app.ending() == "reset");
        const AccessLine line = world.one.access_log().wait_for({{"direction", "outbound"}, {"bytes_sent", "6"}});
        CHECK(is_a_killed_peer(line["error"]));
        CHECK(fate(world.client.netns(), {.to = world.vip("down", family)}) == "reset");
        envoy.start();
        CHECK(world.client.dial(world.vip("down", family)).echoes("after"));
    }
}

TEST_CASE("envoy server: told to drain, what is open goes on, and nothing new fails" IPV4) {
    World& world = World::shared();
    Envoy envoy = in_place_of_the_other_node(world);
    Server server{world.down.netns(), 8080, apps::echo};
    Connection app = world.client.dial(world.vip("down", Family::v4));
    REQUIRE(app.echoes("before"));
    envoy.order("/healthcheck/fail");  // from now on each answer comes with GOAWAY
    for (int i = 0; i < 10; ++i) {
        CAPTURE(i);
        CHECK(world.client.dial(world.vip("down", Family::v4)).echoes("after"));
    }
    CHECK(app.echoes("still here"));
    CHECK(envoy.stat("http.hbone.downstream_cx_drain_close") >= 1);
}

}
