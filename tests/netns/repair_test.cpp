// SPDX-License-Identifier: Apache-2.0
// Somebody takes apart what the capture consists of, inside the pod or on the node: it is whole again within a second,
// and closed, not open, until then.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "not-while-it-is-broken";
constexpr const char* unwatched = "of programs, maps and pins; what is made of rules has a case of its own";

// As nft writes one: "last", which iptables does not know.
constexpr std::string_view add_unreadable_rule = R"(
import socket, struct
def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
def message(kind, flags, family, subsystem, body=b""):
    return struct.pack("=IHHIIBBH", 20 + len(body), kind, flags, 1, 0, family, 0, socket.htons(subsystem)) + body
nested, nftables, new_rule, begin, end, request, ack, create, append = 0x8000, 10, 6, 16, 17, 1, 4, 0x400, 0x800
last = attribute(1 | nested, attribute(1, b"last\0") + attribute(2 | nested, b""))
rule = attribute(1, b"nat\0") + attribute(2, b"OUTPUT\0") + attribute(4 | nested, last)
netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
netfilter.send(message(begin, request, 0, nftables) +
               message(nftables << 8 | new_rule, request | ack | create | append, socket.AF_INET, 0, rule) +
               message(end, request, 0, nftables))
assert struct.unpack_from("=i", netfilter.recv(4096), 16)[0] == 0
)";
constexpr const char* count_hooks = "iptables-save -t nat | grep -c -e '-A OUTPUT -j ISTIO_OUTPUT'";

double repairs(const Node& node, const std::string& part) {
    return total(node.metrics(), "culvert_capture_repairs_total{part=\"" + part + "\"}");
}

void shell(const std::string& script, int netns = -1) {
    must({"sh", "-c", script}, netns);
}

// Ids of the daemon's kernel objects of this name, as its own descriptors tell: other daemons have their like.
std::string ids_held_by(const Node& node, const std::string& field, const std::string& kind, const std::string& name) {
    std::string ids = must({"sh", "-c",
                            "cat /proc/" + std::to_string(node.pid()) + "/fdinfo/* 2>/dev/null | awk '/^" + field +
                                ":/ {print $2}' | sort -u | while read id; do bpftool " + kind +
                                " show id $id | grep -q 'name " + name + " ' && echo $id; done; true"});
    std::ranges::replace(ids, '\n', ' ');
    while (ids.ends_with(' ')) ids.pop_back();
    REQUIRE(!ids.empty());
    return ids;
}

struct Damage {
    std::string name;
    std::string part;                 // of culvert_capture_repairs_total
    std::function<void()> done;       // by somebody
    std::function<void()> undo = {};  // what is not ours to restore
};

// An app that tries all the time, and says something when it gets through.
void try_for(Milliseconds time, const Pod& client, const SocketAddress& target) {
    const Stopwatch watch;
    while (watch.elapsed() < time) {
        try {
            Connection app = Connection::open(client.netns(), {.to = target, .limit = 200ms});
            app.limit(200ms);
            app.echoes(secret);
        } catch (const std::exception&) {  // refused or too late: closed
        }
    }
}

void check_works(World& world) {
    for (Family family : {Family::v4, Family::v6}) {
        CAPTURE(to_string(family));
        CHECK(world.client.dial(world.far.at(family, 8080)).echoes("out again"));
        CHECK(world.plain2.dial(world.client.at(family, 8080)).echoes("in again"));
    }
}

// Calls out of the pod and into it fail or go through the mesh, until the part is repaired; then they work.
void check_closed_until_repaired(World& world, const Damage& damage) {
    CAPTURE(damage.name);
    Server echo{world.far.netns(), 8080, apps::echo};
    Server inside{world.client.netns(), 8080, apps::echo};
    const double before = repairs(world.one, damage.part);
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    damage.done();
    std::thread app{[&] { try_for(1s, world.client, world.far.at(Family::v4, 8080)); }};
    CHECK(eventually(1s, [&] { return repairs(world.one, damage.part) > before; }));
    app.join();
    if (damage.undo) damage.undo();
    auto passed = outside_tunnels(cable.packets());
    // Without the sysctl a reset that has no socket any more, and no bytes, finds the wrong way.
    constexpr std::uint8_t rst = 0x04;
    if (damage.part == "sysctl")
        std::erase_if(passed, [](const Packet& packet) { return packet.flags & rst && packet.payload.empty(); });
    CHECK_MESSAGE(passed.empty(), Tap::list(passed));
    check_works(world);
}

}

TEST_SUITE("repair") {

TEST_CASE("repair: what somebody in the pod takes away is back within a second, and the pod is closed until then" IPV4
              EBPF_ONLY(unwatched)) {
    World& world = World::shared();
    const int pod = world.client.netns();
    const std::string main_tables = "ip rule add pref 32766 lookup main; ip -6 rule add pref 32766 lookup main";
    for (const Damage& damage : {
             Damage{"the rule that loops", "rule", [=] { shell("ip rule del pref 111", pod); }},
             Damage{"the rule that refuses", "rule", [=] { shell("ip rule del pref 110", pod); }},
             Damage{"the IPv6 rule", "rule", [=] { shell("ip -6 rule del pref 111", pod); }},
             Damage{"ip rule flush", "rule", [=] { shell("ip rule flush; ip -6 rule flush; " + main_tables, pod); }},
             Damage{"the routes", "route", [=] { shell("ip route flush table 100", pod); }},
             Damage{"the IPv6 routes", "route", [=] { shell("ip -6 route flush table 100", pod); }},
             Damage{"tcp_fwmark_accept", "sysctl", [=] { shell("sysctl -qw net.ipv4.tcp_fwmark_accept=0", pod); }},
             Damage{"fwmark_reflect", "sysctl",
                    [=] { shell("sysctl -qw net.ipv4.fwmark_reflect=0 net.ipv6.fwmark_reflect=0", pod); }},
         })
        check_closed_until_repaired(world, damage);
}

TEST_CASE("repair: what somebody on the node takes away is back within a second, and the pod is closed until then" IPV4
              EBPF_ONLY(unwatched)) {
    World& world = World::shared();
    const std::string home = pin_folder(world.one);
    const auto detach = [home](const std::string& pin) {
        return [=] { shell("for link in " + home + "/" + pin + "; do bpftool link detach pinned $link; done"); };
    };
    const auto links = pinned_links(world.one);
    const std::string slots = ids_held_by(world.one, "map_id", "map", "cv_listeners");
    for (const Damage& damage : {
             Damage{"cv_lookup of every pod", "lookup", detach("pods/*/lookup")},
             Damage{"cv_sockops", "sockops", detach("sockops")},
             Damage{"the listeners' slots", "listener",
                    [=] {
                        shell("for map in " + slots +
                              "; do for slot in $(seq 0 11); do "
                              "bpftool map delete id $map key $slot 0 0 0 2>/dev/null; done; done; true");
                    }},
             Damage{"the pins", "pin", [=] { shell("rm -r " + home); }},
             Damage{"a pod's pins", "pin", [=] { shell("rm -r " + home + "/pods/*"); }},
         })
        check_closed_until_repaired(world, damage);
    CHECK(eventually(1s, [&] { return pinned_links(world.one).size() == links.size(); }));
}

TEST_CASE("repair: cv_alive taken off means refused, until it is back" IPV4 EBPF_ONLY(unwatched)) {
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    const double before = repairs(world.one, "alive");
    const std::string program = ids_held_by(world.one, "prog_id", "prog", "cv_alive");
    world.one.pause();  // it would repair too soon to be seen
    shell("for fd in /proc/" + std::to_string(world.one.pid()) + "/fdinfo/*; do grep -q \"^prog_id.*" + program +
          "$\" $fd && awk '/^link_id/ {print $2}' $fd; done | xargs -n1 bpftool link detach id");
    CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error == EHOSTUNREACH);
    world.one.resume();
    CHECK(eventually(1s, [&] { return repairs(world.one, "alive") > before; }));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("alive again"));
}

TEST_CASE("repair: a guard taken off is back within a second; what has a socket was captured meanwhile" IPV4 EBPF_ONLY(
    unwatched)) {
    World& world = World::shared();
    const double before = repairs(world.one, "guard");
    shell("for link in " + pin_folder(world.one) + "/pods/*/guard_*; do bpftool link detach pinned $link; done");
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    Server echo{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK(outside_tunnels(cable.packets()).empty());
    CHECK(eventually(1s, [&] { return repairs(world.one, "guard") > before; }));
}

TEST_CASE("repair: a row of cv_pods that somebody deletes is written again" IPV4 EBPF_ONLY(unwatched)) {
    World& world = World::shared();
    const double before = repairs(world.one, "row");
    const std::string pods = pin_folder(world.one) + "/pods";
    for (const auto& pod : std::filesystem::directory_iterator{pods}) {
        const auto cookie = std::stoull(pod.path().filename());
        std::string key;
        for (int byte = 0; byte < 8; ++byte) key += " " + std::to_string(cookie >> 8 * byte & 0xff);
        shell("bpftool map delete pinned " + pin_folder(world.one) + "/cv_pods key" + key);
    }
    CHECK(eventually(1s, [&] { return repairs(world.one, "row") >= before + 2; }));
    Server echo{world.far.netns(), 8080, apps::echo};
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK(holding(cable.packets(), secret).empty());
}

TEST_CASE("repair: nothing is repaired that is not broken, whatever changes around the pod" IPV4 EBPF_ONLY(unwatched)) {
    World world;
    const int pod = world.client.netns();
    Server echo{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("before"));
    shell(
        "ip addr add 10.99.0.1/24 dev eth0; ip link add dev extra type veth peer name other; ip link set extra up; "
        "ip addr add 10.98.0.1/24 dev extra; ip route add 10.97.0.0/16 dev eth0; ip link del extra; "
        "ip addr del 10.99.0.1/24 dev eth0",
        pod);
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("after"));
    std::this_thread::sleep_for(1100ms);  // two looks
    const auto samples = world.one.metrics();
    CHECK(total(samples, "culvert_capture_repairs_total") == 0);
}

TEST_CASE("repair: a pod with too many addresses is named once for each count, however often it is looked at" IPV4
              EBPF_ONLY(unwatched)) {
    World world;
    const int pod = world.client.netns();
    shell("for i in $(seq 70); do echo addr add 10.99.0.$i/32 dev lo; done | ip -batch -", pod);
    const auto warnings = [&] {
        std::ifstream log{world.one.log_path()};
        std::vector<std::string> found;
        for (std::string line; std::getline(log, line);)
            if (auto at = line.find("ns/client has "); at != std::string::npos) found.push_back(line.substr(at));
        return found;
    };
    std::istringstream lines{must({"ip", "-o", "addr"}, pod)};
    const auto count = std::count(std::istreambuf_iterator<char>{lines}, {}, '\n');
    const std::string last = "ns/client has " + std::to_string(count) + " addresses";
    CHECK(eventually(5s, [&] { return !warnings().empty() && warnings().back().starts_with(last); }));
    for (int i = 0; i < 3; ++i) {  // each is seen, and followed
        const double before = repairs(world.one, "rule");
        shell("ip rule del pref 111", pod);
        CHECK(eventually(5s, [&] { return repairs(world.one, "rule") > before; }));
    }
    auto said = warnings();
    const std::size_t all = said.size();
    std::ranges::sort(said);
    said.erase(std::ranges::unique(said).begin(), said.end());
    CHECK(said.size() == all);
}

TEST_CASE("repair: rules, their route and its ip rule are back within a second of being taken away" IPV4 RULES_ONLY(
    "there are no rules")) {
    World& world = World::shared();
    const int pod = world.client.netns();
    Server echo{world.far.netns(), 8080, apps::echo}, inside{world.client.netns(), 8080, apps::echo};
    Connection app = world.client.dial(world.far.at(Family::v4, 8080));
    REQUIRE(app.echoes("before"));
    // Of others, and no business of ours.
    shell("iptables -t nat -A PREROUTING -p tcp --dport 1 -j RETURN", pod);
    double mended = 0;
    for (const Damage& damage : {
             Damage{"the rules of every chain", "iptables",
                    [=] { shell("iptables -t nat -F; iptables -t mangle -F", pod); }},
             Damage{"the IPv6 ones", "iptables", [=] { shell("ip6tables -t nat -F ISTIO_OUTPUT", pod); }},
             Damage{"a hook", "iptables", [=] { shell("iptables -t nat -D OUTPUT -j ISTIO_OUTPUT", pod); }},
             Damage{"rules and chains", "iptables",
                    [=] { shell("for t in nat mangle; do iptables -t $t -F; iptables -t $t -X; done", pod); }},
             Damage{"the ip rule", "rule", [=] { shell("ip rule del pref 32764", pod); }},
             Damage{"the routes", "route",
                    [=] { shell("ip route flush table 100; ip -6 route flush table 100", pod); }},
         }) {
        CAPTURE(damage.name);
        const double before = repairs(world.one, damage.part);
        damage.done();
        CHECK(eventually(2s, [&] { return repairs(world.one, damage.part) > before; }));
        mended += damage.part == "iptables" ? 1 : 0;
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        check_works(world);
        const std::vector targets{world.far.ip(Family::v4), world.far.ip(Family::v6)};
        CHECK(let_out(cable.packets(), targets, "out again") == "");
        CHECK(app.echoes("still there"));
    }
    CHECK(repairs(world.one, "iptables") == mended);
}

TEST_CASE("repair: who takes the ip rule away all the time is answered twenty times a second at most" IPV4 RULES_ONLY(
    "programs' pods are looked after twice a second")) {
    World& world = World::shared();
    const double before = repairs(world.one, "rule");
    const Stopwatch watch;
    shell("timeout 1 sh -c 'while :; do ip rule del pref 32764 2>/dev/null; done'; true", world.client.netns());
    CHECK(eventually(1s, [&] { return repairs(world.one, "rule") > before; }));
    const auto ticks = watch.elapsed() / 50ms;
    CHECK(repairs(world.one, "rule") - before <= static_cast<double>(ticks) + 2);
    Server echo{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("there again"));
}

TEST_CASE("repair: what is in a table that iptables cannot read any more is not put there again and again" IPV4
              RULES_ONLY("there are no rules")) {
    World& world = World::shared();
    const int pod = world.client.netns();
    const auto hooks = [&] { return std::stoi(must({"sh", "-c", count_hooks}, pod)); };
    const double before = repairs(world.one, "iptables");
    REQUIRE(hooks() == 1);
    must({"python3", "-c", std::string{add_unreadable_rule}}, pod);
    CHECK(world.one.says({"ns/client", "table nat has rules that iptables cannot read"}));
    CHECK(repairs(world.one, "iptables") == before);
    // Flushes what it cannot print.
    shell("iptables -t nat -F OUTPUT", pod);
    CHECK(eventually(2s, [&] { return repairs(world.one, "iptables") > before; }));
    CHECK(hooks() == 1);
    Server echo{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("read again"));
}

TEST_CASE("repair: a pod that is wanted again while it drains is closed as soon as its rules can be put" IPV4
              RULES_ONLY("there are no rules")) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "10s"; }};
    const auto want = [&world](bool wanted) {
        world.mesh.workload(world.client).enrolled = wanted;
        world.reconfigure();
    };
    Server echo{world.far.netns(), 8080, apps::echo};
    Connection app = world.client.dial(world.far.at(Family::v4, 8080));
    want(false);
    REQUIRE(world.one.says({"applied"}));
    must({"python3", "-c", std::string{add_unreadable_rule}}, world.client.netns());
    want(true);
    REQUIRE(world.one.says({"table nat has rules that iptables cannot read"}));
    shell("iptables -t nat -F OUTPUT", world.client.netns());
    CHECK(eventually(2s, [&] { return repairs(world.one, "iptables") > 0; }));
    CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error == ECONNREFUSED);
    CHECK(app.echoes("still there"));
}

}
