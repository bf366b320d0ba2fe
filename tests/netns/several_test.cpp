// SPDX-License-Identifier: Apache-2.0
// Pods with several interfaces, and interfaces and addresses that come and go while the pod is in the mesh.
//
//   node 1: client, eth0 to the node's bridge; net1 on a wire of its own to "island", which the node does not reach
#include <doctest/doctest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <culvert/base/netns.hpp>

#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";

// A second network of a pod's: the pod is 10.99.0.1 and fd99::1 there, and somebody else 10.99.0.2 and fd99::2.
class Island {
public:
    explicit Island(const Pod& pod) : name_{"island" + std::to_string(::getpid())}, pod_{pod} {
        must({"ip", "netns", "add", name_});
        netns_ = std::move(*culvert::base::open_netns("/run/netns/" + name_));
        shell("ip link set lo up; ip link add eth0 type veth peer name net1; ip link set net1 netns " +
                  pod.netns_path() +
                  "; ip address add 10.99.0.2/24 dev eth0; ip address add fd99::2/64 dev eth0 nodad; "
                  "ip link set eth0 up",
              netns_.get());
        plug_in();
    }
    Island(const Island&) = delete;
    ~Island() {
        run({"ip", "link", "del", "net1"}, pod_.netns());
        run({"ip", "netns", "del", name_});
    }
    void plug_in() const {
        shell("ip address add 10.99.0.1/24 dev net1; ip address add fd99::1/64 dev net1 nodad; ip link set net1 up",
              pod_.netns());
    }
    int netns() const { return netns_.get(); }
    static IpAddress pod_ip(Family family) { return *IpAddress::parse(family == Family::v4 ? "10.99.0.1" : "fd99::1"); }
    static IpAddress ip(Family family) { return *IpAddress::parse(family == Family::v4 ? "10.99.0.2" : "fd99::2"); }

private:
    static void shell(const std::string& script, int netns) { must({"sh", "-ec", script}, netns); }

    std::string name_;
    const Pod& pod_;
    culvert::base::Fd netns_;
};

void pod_shell(const Pod& pod, const std::string& script) {
    must({"sh", "-ec", script}, pod.netns());
}

bool is_answered(int netns, const SocketAddress& target, std::string_view text = "in the clear") {
    try {
        return Connection::open(netns, {.to = target, .limit = 500ms}).echoes(text);
    } catch (const std::exception&) {
        return false;
    }
}

void check_both_networks(World& world, const Island& island, Family family) {
    CAPTURE(to_string(family));
    Server own{world.client.netns(), 8080, apps::echo};
    Server there{island.netns(), 8080, apps::echo};
    Server far{world.far.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    Tap sea{island.netns(), "eth0"};
    const SocketAddress out{Island::ip(family), 8080};
    const SocketAddress in{Island::pod_ip(family), 8080};
    CHECK(eventually(15s, [&] { return is_answered(island.netns(), in); }));

    world.mark();
    CHECK(world.client.dial(out).echoes("plain, out by net1"));
    CHECK(there.last_guest().from.ip == Island::pod_ip(family));
    world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.addr", out.to_string()}});
    CHECK(Connection::open(island.netns(), {.to = in}).echoes("plain, in by net1"));
    CHECK(own.last_guest().from.ip == Island::ip(family));
    CHECK(own.last_guest().to == in);
    world.one.access_log().wait_for({{"direction", "inbound"}, {"dst.addr", in.to_string()}});

    CHECK(world.client.dial(world.far.at(family, 8080)).echoes(secret));
    CHECK(far.last_guest().from.ip == world.client.ip(family));
    CHECK(world.client.dial(in).echoes("with itself"));
    CHECK(let_out(cable.packets(), {world.far.ip(family)}, secret) == "");
    CHECK(let_out(sea.packets(), {world.far.ip(family), world.client.ip(family)}, secret) == "");
}

}

TEST_SUITE("several") {

TEST_CASE(
    "several: on a second interface, calls in and out are captured, and nothing meant for the mesh goes by "
    "it" BOTH_FAMILIES) {
    World world;
    {
        Island island{world.client};
        for (Family family : families()) check_both_networks(world, island, family);
    }
    Island again{world.client};
    for (Family family : families()) check_both_networks(world, again, family);
}

TEST_CASE("several: a socket that is bound to a second interface, or to its address, is captured" BOTH_FAMILIES) {
    World world;
    Island island{world.client};
    Server own{world.client.netns(), 8081, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server there{island.netns(), 8080, apps::echo};
        CHECK(eventually(15s, [&] { return is_answered(island.netns(), {Island::pod_ip(family), 8081}); }));
        world.mark();
        const SocketAddress target{Island::ip(family), 8080};
        const auto bind_to_net1 = [](int fd) {
            REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "net1", 5) == 0);
        };
        if (capture_mode() == "ebpf") CHECK(world.client.dial(Dial{.to = target, .prepare = bind_to_net1}).echoes("x"));
        CHECK(world.client.dial(Dial{.to = target, .from = SocketAddress{Island::pod_ip(family), 0}}).echoes("y"));
        const std::size_t calls = capture_mode() == "ebpf" ? 2 : 1;
        CHECK(there.guests().size() == calls);
        CHECK(there.last_guest().from.ip == Island::pod_ip(family));
        const auto lines = [&] {
            std::size_t count = 0;
            for (const AccessLine& line : world.one.access_log().since_mark())
                if (line["dst.addr"] == target.to_string() && line["direction"] == "outbound") ++count;
            return count;
        };
        CHECK(eventually(15s, [&] { return lines() == calls; }));
    }
}

TEST_CASE(
    "several: with the link down or the last address gone nothing is let out, and when they are back all is as "
    "it was" BOTH_FAMILIES) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Server own{world.client.netns(), 8080, apps::echo};
    const std::string v4 = world.client.ip(Family::v4).to_string() + "/24 dev eth0";
    const std::string v6 = world.client.ip(Family::v6).to_string() + "/64 dev eth0";
    const std::string routes =
        "; ip route replace default via 10.71.1.1; ip -6 route replace default via fd71:0:0:1::1";
    struct Row {
        std::string gone;
        std::string back;
    };
    Tap wire{world.lab.node_netns(1), "wire"};
    for (const Row& row :
         {Row{"ip link set eth0 down", "ip link set eth0 up; ip address replace " + v6 + " nodad" + routes},
          Row{"ip address del " + v4 + "; ip address del " + v6,
              "ip address add " + v4 + "; ip address add " + v6 + " nodad" + routes},
          Row{"ip link set eth0 down; ip link set eth0 name gone0",
              "ip link set gone0 name eth0; ip link set eth0 up; ip address replace " + v6 + " nodad" + routes}}) {
        CAPTURE(row.gone);
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        pod_shell(world.client, row.gone);
        for (Family family : families())
            CHECK_FALSE(is_answered(world.client.netns(), world.far.at(family, 8080), secret));
        pod_shell(world.client, row.back);
        for (Family family : families()) {
            CAPTURE(to_string(family));
            CHECK(
                eventually(15s, [&] { return is_answered(world.client.netns(), world.far.at(family, 8080), secret); }));
            CHECK(eventually(15s, [&] { return is_answered(world.plain2.netns(), world.client.at(family, 8080)); }));
            CHECK(world.far.dial(world.client.at(family, 8080)).echoes(secret));
            CHECK(let_out(cable.packets(), {world.far.ip(family)}, secret) == "");
        }
    }
    CHECK(world.one.ready());
}

}
