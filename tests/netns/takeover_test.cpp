// SPDX-License-Identifier: Apache-2.0
// An upgrade: a second daemon takes all pods from the first while both run. culvertd_next is a build that speaks the
// next schema of the pins.
#include <doctest/doctest.h>

#include <signal.h>
#include <sys/socket.h>

#include <culvert/base/netns.hpp>

#include "kernel_traces.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;
namespace base = culvert::base;

namespace {

constexpr std::string_view secret = "while-the-guard-changes";
constexpr const char* one_port = "the rules lead to fixed ports, which two daemons cannot both have";

// From now on the pod's kernel sends no bare ACKs and no data to this port: its handshakes stay half-open.
class HalfOpen {
public:
    HalfOpen(const Pod& pod, const SocketAddress& to) : pod_{pod}, to_{to} {
        must(rule("-A"), pod.netns());
        socket_ =
            *base::in_netns(pod.netns(), [] { return base::Fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; });
        sockaddr_storage raw{};
        socklen_t size = to.to(raw);
        CHECK(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&raw), size) == 0);
    }
    Connection let_go() {
        must(rule("-D"), pod_.netns());
        return Connection{std::move(socket_)};
    }

private:
    std::vector<std::string> rule(const std::string& verb) const {
        return {"iptables",    verb,      "OUTPUT", "-p", "tcp", "--dport", std::to_string(to_.port),
                "--tcp-flags", "SYN,ACK", "ACK",    "-j", "DROP"};
    }
    const Pod& pod_;
    SocketAddress to_;
    base::Fd socket_;
};

// Both ways, through tunnels and plainly, all the time.
struct Traffic {
    explicit Traffic(World& world)
        : far{world.far.netns(), 8080, apps::echo},
          near{world.near.netns(), 8080, apps::echo},
          out{world.client, world.vip("far", Family::v4), std::string{secret}},
          out6{world.client, world.far.at(Family::v6, 8080), std::string{secret}},
          in{world.far, world.near.at(Family::v4, 8080), std::string{secret}},
          plain{world.plain1, world.near.at(Family::v6, 8080), "plain"} {}
    bool goes_on() const { return out.goes_on() && out6.goes_on() && in.goes_on() && plain.goes_on(); }
    void check_nothing_failed() {
        for (Load* load : {&out, &out6, &in, &plain}) {
            load->stop();
            CHECK_MESSAGE(load->failed() == 0, load->first_failure());
        }
    }
    Server far, near;
    Load out, out6, in, plain;
};

void check_takes_over(World& world, const std::string& successor) {
    CAPTURE(successor);
    Traffic traffic{world};
    CHECK(traffic.goes_on());
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    Connection open = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(open.echoes("before"));
    HalfOpen half{world.plain1, world.near.at(Family::v4, 8080)};

    Process old = world.one.start_successor(successor);
    CHECK(traffic.goes_on());
    Connection late = half.let_go();
    CHECK(late.echoes("its handshake began before"));
    CHECK(open.echoes("still with the old one"));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("with the new one"));
    open.close();
    late.close();
    CHECK(old.wait(20s) == 0);
    CHECK(traffic.goes_on());
    traffic.check_nothing_failed();
    CHECK(outside_tunnels(cable.packets()).empty());
    CHECK(world.one.ready());
}

}

TEST_SUITE("takeover") {

TEST_CASE("takeover: a second daemon takes the pods over under load, and the first ends when it has finished" IPV4
              EBPF_ONLY(one_port)) {
    World world;
    check_takes_over(world, culvertd());
    const double before = total(world.one.metrics(), "culvert_capture_decisions_total{reason=\"CONNECT_REFUSED\"}");
    CHECK(before == 0);
    // The successor is a daemon like any other: it repairs, and it can be replaced.
    must({"ip", "rule", "del", "pref", "111"}, world.client.netns());
    CHECK(eventually(15s, [&] { return total(world.one.metrics(), "culvert_capture_repairs_total") > 0; }));
    check_takes_over(world, culvertd());
}

TEST_CASE(
    "takeover: an upgrade to a build with a newer schema, and the downgrade, lose nothing" IPV4 EBPF_ONLY(one_port)) {
    World world;
    check_takes_over(world, CULVERT_NEXT_DAEMON);
    check_takes_over(world, culvertd());
    CHECK(left_over_pins(world.one).empty());
}

TEST_CASE("takeover: pins of a dead daemon with another schema keep the pods closed until the next has them" IPV4
              EBPF_ONLY(one_port)) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    for (const std::string& next : {std::string{CULVERT_NEXT_DAEMON}, culvertd()}) {
        CAPTURE(next);
        world.one.kill9();
        CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error == EHOSTUNREACH);
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        Load load{world.client, world.far.at(Family::v4, 8080), std::string{secret}};
        world.one.start(next);
        CHECK(load.goes_on());
        load.stop();
        CHECK(outside_tunnels(cable.packets()).empty());
        CHECK(left_over_pins(world.one).empty());
    }
}

TEST_CASE(
    "takeover: without --take-over a second daemon says what to do, and disturbs nothing" IPV4 EBPF_ONLY(one_port)) {
    World& world = World::shared();
    const Output second = run({culvertd(), "--config", world.one.config_path()}, world.one.netns());
    CHECK(second.status == 1);
    CHECK(second.text.find("--take-over") != std::string::npos);
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("undisturbed"));
}

TEST_CASE("takeover: from a successor that dies half-way the first takes the pods back" IPV4 EBPF_ONLY(one_port)) {
    // Enough pods that it can be killed between the first and the last.
    World world{[](Mesh& mesh) {
        for (int i = 0; i < 40; ++i)
            mesh.add(Workload{.pod = &const_cast<Lab*>(mesh.lab)->add_pod("late" + std::to_string(i), 1, 100 + i)});
    }};
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    CHECK(world.one.says({"ready:"}));  // what is looked for below comes after it
    Process successor({culvertd(), "--config", world.one.config_path(), "--take-over"}, world.one.netns(),
                      world.one.log_path());
    CHECK(world.one.says({"ns/near is captured"}));
    successor.signal(SIGKILL);
    successor.wait(5s);
    REQUIRE_FALSE(world.one.says({"has taken over"}, 700ms));
    CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error == EHOSTUNREACH);
    CHECK(world.one.says({"taken back"}, 20s));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("back"));
    CHECK(world.plain1.dial(world.near.at(Family::v4, 8080)).echoes("back"));
}

}
