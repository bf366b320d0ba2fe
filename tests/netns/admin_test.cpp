// SPDX-License-Identifier: Apache-2.0
// An app with NET_ADMIN in its pod, who may change all of its network: what it does to the capture closes the pod, or
// is put right, and opens nothing. What repair_test has is not here again.
#include <doctest/doctest.h>

#include "nested.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "must-not-be-seen";
constexpr const char* who_may_change_rules = "its rules are the pod's own, and who may change them may take them out";

bool is_answered(const Pod& pod, const SocketAddress& target) {
    try {
        Connection app = Connection::open(pod.netns(), {.to = target, .limit = 300ms});
        app.limit(300ms);
        return app.echoes(secret);
    } catch (const std::exception&) {
        return false;
    }
}

struct Meddling {
    std::string done;
    std::string undone;
    bool still_works;  // else the pod is closed meanwhile
};

void check_nothing_leaks(World& world, const Meddling& meddling, Family family) {
    INFO(meddling.done, ", ", to_string(family));
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    Connection open = world.client.dial(world.far.at(family, 8080));
    CHECK(open.echoes(secret));
    run({"sh", "-c", meddling.done}, world.client.netns());  // it may be refused: all the better
    for (const SocketAddress& target : {world.far.at(family, 8080), world.vip("far", family)})
        CHECK(is_answered(world.client, target) == meddling.still_works);
    try {
        open.limit(300ms);
        open.echoes(secret);
    } catch (const std::exception&) {  // closed, then
    }
    send_raw(world.client.netns(), family == Family::v4
                                       ? ipv4_syn(world.client.at(family, 4444), world.plain2.at(family, 8080))
                                       : ipv6_syn(world.client.at(family, 4444), world.plain2.at(family, 8080)));
    run({"sh", "-c", meddling.undone}, world.client.netns());
    CHECK(eventually(15s, [&] { return is_answered(world.client, world.far.at(family, 8080)); }));
    CHECK(let_out(cable.packets(), {world.far.ip(family), world.plain2.ip(family)}, secret) == "");
}

std::string both(const std::string& rest) {
    return "ip " + rest + "; ip -6 " + rest;
}

std::string tables(const std::string& rest) {
    return "iptables -w " + rest + "; ip6tables -w " + rest;
}

}

TEST_SUITE("admin") {

TEST_CASE("admin: qdiscs and filters that an app deletes take nothing with them" BOTH_FAMILIES EBPF_ONLY(
    who_may_change_rules)) {
    World& world = World::shared();
    for (Family family : families())
        for (const char* command : {"tc qdisc del dev eth0 clsact", "tc filter del dev eth0 egress",
                                    "tc qdisc add dev eth0 clsact; tc filter add dev eth0 egress matchall action pass",
                                    "tc qdisc replace dev eth0 root pfifo"})
            check_nothing_leaks(world, {command, "tc qdisc del dev eth0 clsact; tc qdisc del dev eth0 root", true},
                                family);
}

TEST_CASE("admin: a rule that an app puts before ours closes the pod, and opens nothing" BOTH_FAMILIES EBPF_ONLY(
    who_may_change_rules)) {
    World& world = World::shared();
    for (Family family : families())
        for (const std::string rule :
             {"pref 1 lookup main", "pref 1 fwmark 0x111 lookup main", "pref 2 ipproto tcp lookup main"})
            check_nothing_leaks(world, {both("rule add " + rule), both("rule del " + rule), false}, family);
}

TEST_CASE("admin: packet filters that an app adds change no way" BOTH_FAMILIES EBPF_ONLY(who_may_change_rules)) {
    World& world = World::shared();
    const std::string off = "-t mangle -D OUTPUT -p tcp -j MARK --set-mark ";
    const std::string on = "-t mangle -A OUTPUT -p tcp -j MARK --set-mark ";
    for (Family family : families()) {
        check_nothing_leaks(world, {tables("-t raw -A OUTPUT -j NOTRACK"), tables("-t raw -D OUTPUT -j NOTRACK"), true},
                            family);
        for (const char* mark : {"0", "0x539"})
            check_nothing_leaks(world, {tables(on + mark), tables(off + mark), false}, family);
    }
}

TEST_CASE("admin: eth0 that an app takes to a netns of its own does not take it out of the mesh" BOTH_FAMILIES
              EBPF_ONLY(who_may_change_rules)) {
    World world;
    Netns inner{"own"};
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    run({"sh", "-c", "ip link set eth0 netns " + inner.path()}, world.client.netns());
    run({"sh", "-c",
         "ip address add 10.71.1.10/24 dev eth0; ip address add fd71:0:0:1::10/64 dev eth0 nodad; "
         "ip link set eth0 up; ip route add default via 10.71.1.1; ip route add default via fd71:0:0:1::1"},
        inner.get());
    for (Family family : families()) {
        CAPTURE(to_string(family));
        for (const SocketAddress& target : {world.far.at(family, 8080), world.plain2.at(family, 8080)}) {
            CHECK(attempt(inner.get(), {.to = target, .limit = 500ms}).error != 0);
            CHECK(let_out(cable.packets(), {target.ip}, secret) == "");
        }
    }
}

}
