// SPDX-License-Identifier: Apache-2.0
// Envoy in front of our inbound: an app talks to it on its pod's loopback, and it tunnels to a pod of the mesh.
#include <doctest/doctest.h>

#include <cstdlib>

#include <fmt/format.h>

#include "exchange.hpp"
#include "outcome.hpp"
#include "peers.hpp"

using namespace culvert::test;

namespace {

// What a port of the loopback leads to: a tunnel's far end, and the authority asked for in it.
struct Way {
    int port;
    IpAddress peer;
    std::string authority;
};

std::string listener(const Way& way) {
    return fmt::format(
        R"(  - name: to_{0}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {0}}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: to_{0}
          cluster: to_{0}
          tunneling_config: {{hostname: "{1}", headers_to_add: [{{header: {{key: baggage, value: "k8s.namespace.name=elsewhere"}}}}]}}
)",
        way.port, way.authority);
}

std::string cluster(const Way& way, const Papers& papers, const std::string& options) {
    return fmt::format(
        R"(  - name: to_{0}
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000}}]}}
    load_assignment:
      cluster_name: to_{0}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: "{1}", port_value: 15008}}}}}}}}]}}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{{5}}}}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
          tls_certificates: [{{certificate_chain: {{filename: {2}}}, private_key: {{filename: {3}}}}}]
          validation_context:
            trusted_ca: {{filename: {4}}}
            match_typed_subject_alt_names:
            - {{san_type: URI, matcher: {{exact: "spiffe://cluster.local/ns/ns/sa/server"}}}}
)",
        way.port, way.peer.to_string(), papers.chain, papers.key, papers.root, options);
}

constexpr int by_v4 = 9004, by_v6 = 9006, closed = 9005, foreign = 9007;

// In a pod of node 1 that is not enrolled, in front of `far` on node 2.
Envoy in_front_of_us(World& world, const std::string& options = "") {
    const Papers papers = issue(world.lab, "elsewhere");
    const IpAddress v4 = world.far.ip(Family::v4);
    std::string listeners, clusters;
    for (const Way& way : {Way{by_v4, v4, world.far.at(Family::v4, 8080).to_string()},
                           Way{by_v6, world.far.ip(Family::v6), world.far.at(Family::v6, 8080).to_string()},
                           Way{closed, v4, world.far.at(Family::v4, 8099).to_string()},
                           Way{foreign, v4, world.near.at(Family::v4, 8080).to_string()}}) {
        listeners += listener(way);
        clusters += cluster(way, papers, options);
    }
    return Envoy{world.lab, world.plain1, "envoy_client.yaml", {{"LISTENERS", listeners}, {"CLUSTERS", clusters}}};
}

SocketAddress door(Family family) {
    return {*IpAddress::parse("127.0.0.1"), static_cast<std::uint16_t>(family == Family::v4 ? by_v4 : by_v6)};
}

std::string upstream(Family family, const std::string& stat) {
    return "cluster.to_" + std::to_string(door(family).port) + "." + stat;
}

std::uint64_t bulk() {
    return (std::getenv("CULVERT_LONG") != nullptr ? 1024 : 256) * mebibyte;
}

}

TEST_SUITE("envoy client") {

TEST_CASE("envoy client: its tunnels end at our apps, which see its address; the log has its identity" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_front_of_us(world);
    Server server{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        world.mark();
        Connection app = world.plain1.dial(door(family));
        REQUIRE(app.echoes("from another's hands"));
        CHECK(server.last_guest().from.ip == world.plain1.ip(family));
        app.end_sending();
        CHECK(app.receive_all() == "");
        const AccessLine line = world.two.access_log().wait_for({{"direction", "inbound"}, {"bytes_recv", "20"}});
        CHECK(line["src.identity"] == "spiffe://cluster.local/ns/ns/sa/elsewhere");
        CHECK(line["bytes_sent"] == "20");
        CHECK(line["error"] == "");
        CHECK(envoy.stat(upstream(family, "ssl.versions.TLSv1.3")) == 1);
    }
}

TEST_CASE("envoy client: 190 connections travel in one tunnel, and 300 in two" BOTH_FAMILIES) {
    World& world = World::shared();
    Server server{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        Envoy envoy = in_front_of_us(world);
        CAPTURE(to_string(family));
        std::vector<Connection> open;
        int right = 0;
        const auto grow_to = [&](std::size_t count) {
            for (; open.size() < count; right += open.back().echoes("number " + std::to_string(open.size())))
                open.push_back(world.plain1.dial(door(family)));
        };
        grow_to(190);
        CHECK(envoy.stat(upstream(family, "upstream_cx_total")) == 1);
        grow_to(300);
        CHECK(envoy.stat(upstream(family, "upstream_cx_total")) == 2);
        CHECK(envoy.stat(upstream(family, "upstream_rq_active")) == 300);
        CHECK(right == 300);
    }
}

TEST_CASE("envoy client: 256 MiB each way arrive as they were sent" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_front_of_us(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        CHECK(exchange(world.plain1, door(family), world.far, bulk()) == "");
    }
}

TEST_CASE("envoy client: windows of 64 KiB and of 1 GiB" IPV4) {
    World& world = World::shared();
    for (const std::string options :
         {"initial_stream_window_size: 65535, initial_connection_window_size: 65535",
          "initial_stream_window_size: 1073741824, initial_connection_window_size: 1073741824"}) {
        CAPTURE(options);
        Envoy envoy = in_front_of_us(world, options);
        CHECK(exchange(world.plain1, door(Family::v4), world.far, 32 * mebibyte) == "");
    }
}

TEST_CASE("envoy client: either side may end first, and the rest arrives" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_front_of_us(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        {
            Server server{world.far.netns(), 8080, apps::count_then_answer};
            Connection app = world.plain1.dial(door(family));
            pour(app, Pattern{1}, mebibyte);
            app.end_sending();
            CHECK(app.receive_all() == std::to_string(mebibyte));
        }
        std::promise<Received> there;
        Server server{world.far.netns(), 8080, [&](Connection& connection) {
                          connection.send("go on");
                          connection.end_sending();
                          there.set_value(drain(connection, Pattern{1}));
                      }};
        Connection app = world.plain1.dial(door(family));
        CHECK(app.receive_all() == "go on");
        pour(app, Pattern{1}, mebibyte);
        app.end_sending();
        const Received got = there.get_future().get();
        CHECK(got.bytes == mebibyte);
        CHECK_FALSE(got.first_wrong);
    }
}

TEST_CASE(
    "envoy client: killed, its connections end at our apps, with a reason; started again it is served" BOTH_FAMILIES) {
    World& world = World::shared();
    Envoy envoy = in_front_of_us(world);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        std::promise<std::string> end;
        Server server{world.far.netns(), 8080, [&](Connection& connection) {
                          connection.send(connection.receive(6));
                          end.set_value(connection.ending());
                      }};
        Connection app = world.plain1.dial(door(family));
        REQUIRE(app.echoes("before"));
        world.mark();
        envoy.kill9();
        CHECK(end.get_future().get() == "reset");
        const AccessLine line = world.two.access_log().wait_for({{"direction", "inbound"}, {"bytes_recv", "6"}});
        CHECK(is_a_killed_peer(line["error"]));
        envoy.start();
        end = {};
        world.mark();
        CHECK(world.plain1.dial(door(family)).echoes("again!"));
        CHECK(world.two.access_log().wait_for({{"direction", "inbound"}, {"bytes_recv", "6"}})["error"] == "");
    }
}

TEST_CASE("envoy client: what we refuse ends at its app, and its tunnel goes on" IPV4) {
    World& world = World::shared();
    Envoy envoy = in_front_of_us(world);
    Server server{world.far.netns(), 8080, apps::echo};
    Connection app = world.plain1.dial(door(Family::v4));
    REQUIRE(app.echoes("before"));
    for (const auto& [port, error] : {std::pair{closed, "connection failed"}, {foreign, "ip mismatch"}}) {
        CAPTURE(port);
        world.mark();
        const SocketAddress to{*IpAddress::parse("127.0.0.1"), static_cast<std::uint16_t>(port)};
        const std::string end = fate(world.plain1.netns(), {.to = to});
        CHECK_MESSAGE((end == "end" || end == "reset"), end);
        const std::string said = world.two.access_log().wait_for({{"direction", "inbound"}})["error"];
        CAPTURE(said);
        CHECK(said.find(error) != std::string::npos);
    }
    CHECK(app.echoes("after"));
}

}
