// SPDX-License-Identifier: Apache-2.0
// What a pod or its node excludes goes past the mesh, as it is and to whom it was for; all beside it does not.
#include <doctest/doctest.h>

#include <algorithm>

#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "readable-on-the-wire";

// client excludes a port and far's range, near another port and one that others come to; the node one port for all.
void exclude(Mesh& mesh) {
    mesh.settings.exclude = "{outboundPorts: [8082]}";
    for (Workload& workload : mesh.workloads) {
        if (workload.pod->name() == "client") workload.exclude = "{outboundPorts: [8081]}";
        if (workload.pod->name() == "near") workload.exclude = "{outboundPorts: [8080], inboundPorts: [9100]}";
    }
}

// far's network as both families write it: 10.71.2.8-15 and fd71:0:0:2::10-1f. near is in neither.
constexpr const char* far_ranges = "{outboundCidrs: [10.71.2.8/29, \"fd71:0:0:2::10/124\"]}";

// How the call went, as the caller's cable shows it: with a SYN of its own and readable, or neither.
bool in_the_clear(World& world, const Pod& caller, const SocketAddress& to) {
    Tap cable{world.lab.node_netns(caller.node()), caller.host_link()};
    CHECK(caller.dial(to).echoes(secret));
    const auto packets = cable.packets();
    const auto seen = holding(packets, secret);
    const bool went = std::ranges::any_of(packets, [&](const Packet& each) { return each.syn() && each.to == to; });
    CHECK(went == !seen.empty());
    return went;
}

// Whether the node's access log says anything of a call to this address.
bool is_logged(Node& node, const SocketAddress& to) {
    for (const AccessLine& line : node.access_log().since_mark())
        if (line.raw.find(to.to_string()) != std::string::npos) return true;
    return false;
}

void reconfigure(World& world, const Pod& pod, const std::string& excluded) {
    world.mesh.workload(pod).exclude = excluded;
    world.one.configure(world.mesh.yaml(1));
    CHECK(world.one.says({"pod ns/" + pod.name(), "the mesh from now on"}));
    CHECK(world.one.says({"applied", "exclusions changed"}));
}

}

TEST_SUITE("exclude") {

TEST_CASE("exclude: a port goes out in the clear, its neighbour sealed, and each pod has its own" BOTH_FAMILIES) {
    World world{exclude};
    CHECK(world.one.says({"pod ns/client: outbound ports 8081, 8082 bypass the mesh"}));
    CHECK(world.one.says({"pod ns/near: outbound ports 8080, 8082 and inbound port 9100 bypass the mesh"}));
    Server a{world.far.netns(), 8080, apps::echo}, b{world.far.netns(), 8081, apps::echo},
        c{world.far.netns(), 8082, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        ReasonCount excluded{world.one, "CONNECT_EXCLUDED_PORT"}, captured{world.one, "CONNECT_CAPTURED"};
        const auto before = captured.rise();
        world.mark();
        CHECK(in_the_clear(world, world.client, world.far.at(family, 8081)));
        CHECK(in_the_clear(world, world.client, world.far.at(family, 8082)));
        CHECK(in_the_clear(world, world.near, world.far.at(family, 8080)));
        CHECK(in_the_clear(world, world.near, world.far.at(family, 8082)));
        CHECK(b.last_guest().from.ip == world.client.ip(family));
        CHECK(excluded.rises(4));
        CHECK(captured.rise() == before);
        for (std::uint16_t port : {8080, 8081, 8082}) CHECK_FALSE(is_logged(world.one, world.far.at(family, port)));
        CHECK_FALSE(in_the_clear(world, world.client, world.far.at(family, 8080)));
        CHECK_FALSE(in_the_clear(world, world.near, world.far.at(family, 8081)));
        CHECK_FALSE(in_the_clear(world, world.client, world.vip("far", family)));
        world.one.access_log().wait_for({{"direction", "outbound"}});
        // As many programs make their sockets.
        if (family == Family::v4) {
            CHECK(world.client.dial(Dial{.to = world.far.at(family, 8081), .mapped = true}).echoes(secret));
            CHECK(excluded.rises(5));
        }
    }
}

TEST_CASE("exclude: a range goes out in the clear, what is beside it sealed" BOTH_FAMILIES) {
    World world{[](Mesh& mesh) { mesh.workload(*mesh.workloads.at(0).pod).exclude = far_ranges; }};
    REQUIRE(world.mesh.workloads.at(0).pod == &world.client);
    CHECK(world.one.says({"pod ns/client: outbound 10.71.2.8/29, fd71:0:0:2::10/124 bypass the mesh"}));
    Server far{world.far.netns(), 8080, apps::echo}, near{world.near.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        ReasonCount excluded{world.one, "CONNECT_EXCLUDED_CIDR"};
        world.mark();
        CHECK(in_the_clear(world, world.client, world.far.at(family, 8080)));
        CHECK(excluded.rises(1));
        CHECK_FALSE(is_logged(world.one, world.far.at(family, 8080)));
        CHECK_FALSE(in_the_clear(world, world.client, world.near.at(family, 8080)));
        CHECK_FALSE(in_the_clear(world, world.near, world.far.at(family, 8080)));
        // A service is not its endpoint: what the app calls is what counts.
        CHECK_FALSE(in_the_clear(world, world.client, world.vip("far", family)));
    }
}

TEST_CASE(
    "exclude: an inbound port is the app's own, the next one the proxy's; tunnels come in as ever" BOTH_FAMILIES) {
    World world{exclude};
    Server a{world.near.netns(), 9100, apps::echo}, b{world.near.netns(), 9101, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        ReasonCount passed{world.one, "PASS_EXCLUDED"}, inbound{world.one, "TO_INBOUND"};
        const auto own = world.near.at(family, 9100), other = world.near.at(family, 9101);
        world.mark();
        CHECK(world.plain1.dial(own).echoes(secret));
        CHECK(a.last_guest().from.ip == world.plain1.ip(family));
        CHECK(world.plain2.dial(own).echoes(secret));
        CHECK(passed.rises(2));
        CHECK(inbound.rise() == 0);
        CHECK(world.plain1.dial(other).echoes(secret));
        CHECK(inbound.rises(1));
        CHECK(eventually(15s, [&] { return is_logged(world.one, other); }));
        CHECK_FALSE(is_logged(world.one, own));
        // From the mesh it is still called through it.
        CHECK_FALSE(in_the_clear(world, world.client, own));
        CHECK(eventually(15s, [&] { return is_logged(world.one, own); }));
    }
    // It does not take the proxy, alive or not; all else stays closed.
    world.one.kill9();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server out{world.plain2.netns(), 8080, apps::echo}, closed{world.plain2.netns(), 8081, apps::echo};
        CHECK(world.plain1.dial(world.near.at(family, 9100)).echoes(secret));
        CHECK(world.near.dial(world.plain2.at(family, 8080)).echoes(secret));
        CHECK(world.plain1.attempt(world.near.at(family, 9101), 500ms).error != 0);
        CHECK(world.near.attempt(world.plain2.at(family, 8081), 500ms).error != 0);
    }
}

TEST_CASE("exclude: a change of the file holds for new connections, and open ones keep their way" BOTH_FAMILIES) {
    World world;
    Server out{world.far.netns(), 8080, apps::echo}, in{world.client.netns(), 9100, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const auto to = world.far.at(family, 8080), from = world.client.at(family, 9100);
        CHECK_FALSE(in_the_clear(world, world.client, to));
        Connection sealed = world.client.dial(to), carried = world.plain1.dial(from);
        CHECK((sealed.echoes("before") && carried.echoes("before")));

        reconfigure(world, world.client, "{outboundPorts: [8080], inboundPorts: [9100]}");
        CHECK(in_the_clear(world, world.client, to));
        world.mark();
        Connection clear = world.client.dial(to), own = world.plain1.dial(from);
        CHECK((clear.echoes("meanwhile") && own.echoes("meanwhile")));
        CHECK_FALSE(is_logged(world.one, from));
        {
            Tap cable{world.lab.node_netns(1), world.client.host_link()};
            CHECK(sealed.echoes(secret));
            CHECK(holding(cable.packets(), secret).empty());
            CHECK(carried.echoes("still through the proxy"));
        }

        reconfigure(world, world.client, "{}");
        CHECK_FALSE(in_the_clear(world, world.client, to));
        CHECK(world.plain1.dial(from).echoes("carried"));
        CHECK((sealed.echoes("after") && carried.echoes("after") && clear.echoes("after") && own.echoes("after")));
        // Neither kind was cut: each ends as its app ends it.
        for (Connection* each : {&sealed, &carried, &clear, &own}) {
            each->end_sending();
            CHECK(each->ending() == "end");
        }
    }
}

TEST_CASE("exclude: a file with a mistake in it opens nothing, and what was excluded stays so" IPV4) {
    World world{exclude};
    Server a{world.far.netns(), 8081, apps::echo}, b{world.far.netns(), 8083, apps::echo};
    world.mesh.workload(world.client).exclude = "{outboundPorts: [8083, 0]}";
    world.one.configure(world.mesh.yaml(1));
    CHECK(world.one.says({"exclude.outboundPorts[1]", "The last good configuration goes on"}));
    CHECK(in_the_clear(world, world.client, world.far.at(Family::v4, 8081)));
    CHECK_FALSE(in_the_clear(world, world.client, world.far.at(Family::v4, 8083)));
    reconfigure(world, world.client, "{outboundPorts: [8083]}");
    CHECK(in_the_clear(world, world.client, world.far.at(Family::v4, 8083)));
}

TEST_CASE("exclude: the map says which pod excludes what, also after an upgrade to another schema and back" IPV4
              EBPF_ONLY("rules are no maps, and two daemons cannot both have their ports")) {
    World world{exclude};
    Server a{world.far.netns(), 8081, apps::echo}, b{world.far.netns(), 8080, apps::echo};
    for (const std::string& next : {std::string{}, std::string{CULVERT_NEXT_DAEMON}, culvertd()}) {
        CAPTURE(next);
        if (!next.empty()) {
            Process old = world.one.start_successor(next);
            old.signal(SIGTERM);  // or it waits for handshakes that are under way
            CHECK(old.wait(20s) == 0);
        }
        const std::string pods = dump_map(world.one, "cv_pods");
        CHECK_MESSAGE(pods.find("\"outbound_ports\": [8081,8082,0,") != std::string::npos, pods);
        CHECK_MESSAGE(pods.find("\"outbound_ports\": [8080,8082,0,") != std::string::npos, pods);
        CHECK_MESSAGE(pods.find("\"inbound_ports\": [9100,0,") != std::string::npos, pods);
        CHECK(in_the_clear(world, world.client, world.far.at(Family::v4, 8081)));
        CHECK_FALSE(in_the_clear(world, world.client, world.far.at(Family::v4, 8080)));
    }
}

}
