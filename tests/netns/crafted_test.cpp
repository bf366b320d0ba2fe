// SPDX-License-Identifier: Apache-2.0
// Packets that no TCP socket has made, by apps that may make raw ones: none that opens a connection leaves the pod.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "outcome.hpp"
#include "process.hpp"
#include "raw_packets.hpp"
#include "reasons.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

// From port 4444 to 8080: not a number that anything else on the cable would use.
bool seen(const Tap& cable) {
    const std::string ports = "\x11\x5c\x1f\x90";
    return std::ranges::any_of(cable.packets(), [](const Packet& packet) { return packet.from.port == 4444; }) ||
           std::ranges::any_of(cable.others(),
                               [&](const std::string& frame) { return frame.find(ports) != std::string::npos; });
}

// One way of putting a SYN together and out.
struct Craft {
    std::string name;
    void (*send)(int netns, const std::string& syn);
};

std::vector<Craft> by_raw_socket(Family family) {
    if (family == Family::v4)
        return {{"whole", send_raw}, {"cut after 8 bytes", [](int netns, const std::string& syn) {
                                          send_raw(netns, ipv4_first_fragment(syn, 8));
                                      }}};
    return {{"whole", send_raw}, {"behind destination options", [](int netns, const std::string& syn) {
                                      send_raw(netns, behind_options(syn));
                                  }}};
}

std::vector<Craft> past_the_rules(Family family) {
    std::vector<Craft> crafts{{"a frame with an 802.1p tag", send_tagged}};
    if (family == Family::v4) return crafts;
    crafts.push_back(
        {"cut after 8 bytes", [](int netns, const std::string& syn) { send_raw(netns, ipv6_first_fragment(syn, 8)); }});
    crafts.push_back({"by way of ::1, with a segment routing header", [](int netns, const std::string& syn) {
                          send_raw(netns, by_way_of(syn, *IpAddress::parse("::1")));
                      }});
    return crafts;
}

// Outside the mesh it goes out, so it would inside; there it does not, and the guard has counted it.
void check_stopped(World& world, Family family, const std::vector<Craft>& crafts) {
    const SocketAddress to = world.plain2.at(family, 8080);
    const auto syn_of = family == Family::v4 ? ipv4_syn : ipv6_syn;
    for (const Craft& craft : crafts) {
        INFO(to_string(family), ", ", craft.name);
        Tap open{world.lab.node_netns(1), world.plain1.host_link()};
        craft.send(world.plain1.netns(), syn_of(world.plain1.at(family, 4444), to));
        CHECK(eventually(15s, [&] { return seen(open); }));

        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        ReasonCount syns{world.one, "GUARD_SYN"};
        ReasonCount unreadable{world.one, "GUARD_UNREADABLE"};
        craft.send(world.client.netns(), syn_of(world.client.at(family, 4444), to));
        const auto counted = [&] { return syns.rise() + unreadable.rise() > 0; };
        CHECK((capture_mode() != "ebpf" || eventually(15s, counted)));
        CHECK_FALSE(seen(cable));
    }
}

// What a router does with IPv6 headers, in a pod; and no more of it.
class SegmentRouting {
public:
    explicit SegmentRouting(const Pod& pod) : netns_{pod.netns()} { set("1"); }
    SegmentRouting(const SegmentRouting&) = delete;
    ~SegmentRouting() { set("0"); }

private:
    void set(const std::string& on) const {
        for (const std::string key : {"all.forwarding=", "all.seg6_enabled=", "lo.seg6_enabled="})
            must({"sysctl", "-w", "net.ipv6.conf." + key + on}, netns_);
    }
    int netns_;
};

}

TEST_SUITE("crafted") {

TEST_CASE("crafted: a SYN made by hand and sent by a raw socket does not leave the pod" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) check_stopped(world, family, by_raw_socket(family));
}

TEST_CASE(
    "crafted: a SYN made by hand does not leave the pod, tagged, in IPv6 fragments or routed by its "
    "sender" BOTH_FAMILIES EBPF_ONLY(
        "the rules see neither frames that are written to the device nor what IPv6 fragments hold, nor what "
        "is forwarded")) {
    World& world = World::shared();
    SegmentRouting inside{world.client};
    SegmentRouting outside{world.plain1};
    for (Family family : families()) check_stopped(world, family, past_the_rules(family));
}

}
