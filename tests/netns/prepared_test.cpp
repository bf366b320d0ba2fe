// SPDX-License-Identifier: Apache-2.0
// Pods that istio-cni has prepared: its rules stay and bring what comes to them, we take what leaves them; beside pods
// that nobody has prepared.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include "ctl.hpp"
#include "istio_rules.hpp"
#include "kernel_traces.hpp"
#include "nested.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "reasons.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

bool is_prepared(const Pod& pod) {
    return pod.name() == "client" || pod.name() == "far";
}

// client and far are prepared, near is not. An agent does that itself.
World& prepared() {
    return World::shared("prepared by istio-cni", [](Mesh& mesh) {
        for (Workload& workload : mesh.workloads) {
            if (!is_prepared(*workload.pod)) continue;
            workload.rules = "iptables";
            if (!under_istiod()) write_istio_rules(*workload.pod);
        }
    });
}

// What has gone by the rule that takes a pod's calls: past us.
unsigned long redirected(const Pod& pod, Family family) {
    return is_prepared(pod) ? met(pod, family, "ISTIO_OUTPUT", "--to-ports 15001") : 0;
}
unsigned long redirected_in(const Pod& pod, Family family) {
    return is_prepared(pod) ? met(pod, family, "ISTIO_PRERT", "--to-ports 15006") : 0;
}

#define PREPARED EBPF_ONLY("the other capture has rules of its own, and takes no pod that has somebody else's")

}

TEST_SUITE("prepared") {

TEST_CASE(
    "prepared: calls go by tunnels, on the node and across, to pods that are and that are not" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    for (Family family : families()) {
        for (const auto& [from, to] : {std::pair{&world.client, &world.far},
                                       {&world.far, &world.client},
                                       {&world.client, &world.near},
                                       {&world.near, &world.client},
                                       {&world.near, &world.far},
                                       {&world.far, &world.near}}) {
            CAPTURE(from->name());
            CAPTURE(to->name());
            CAPTURE(to_string(family));
            Server echo{to->netns(), 8080, apps::echo};
            Tap cable{world.lab.node_netns(from->node()), from->host_link()};
            const ReasonCount captured{world.node_of(*from), "CONNECT_CAPTURED"};
            const unsigned long past = redirected(*from, family), in = redirected_in(*to, family);
            world.mark();

            Connection app = from->dial(to->at(family, 8080));
            const SocketAddress client = app.local();
            CHECK(client.ip == from->ip(family));
            CHECK(app.peer() == to->at(family, 8080));
            CHECK(app.echoes("hello"));
            app.end_sending();
            CHECK(app.receive_all() == "");

            CHECK(echo.guest(0).from.ip == from->ip(family));
            CHECK(echo.guest(0).to == to->at(family, 8080));
            world.node_of(*from).access_log().wait_for({{"direction", "outbound"},
                                                        {"src.addr", client.to_string()},
                                                        {"dst.hbone_addr", to->at(family, 8080).to_string()},
                                                        {"dst.identity", world.mesh.identity(*to)}});
            world.node_of(*to).access_log().wait_for({{"direction", "inbound"},
                                                      {"dst.hbone_addr", to->at(family, 8080).to_string()},
                                                      {"src.identity", world.mesh.identity(*from)}});
            CHECK(captured.rise() == 1);
            CHECK(redirected(*from, family) == past);
            CHECK(redirected_in(*to, family) == in);
            const auto passed = cable.packets();
            CHECK_FALSE(passed.empty());
            CHECK_MESSAGE(outside_tunnels(passed).empty(), Tap::list(outside_tunnels(passed)));
        }
    }
}

TEST_CASE(
    "prepared: what comes in plaintext comes by the rules, what leaves in plaintext by us" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    for (Family family : families()) {
        for (Pod* from : {&world.plain1, &world.plain2}) {
            for (Pod* to : {&world.client, &world.far}) {
                CAPTURE(from->name());
                CAPTURE(to->name());
                Server echo{to->netns(), 8080, apps::echo};
                const unsigned long in = redirected_in(*to, family);
                world.mark();
                Connection app = from->dial(to->at(family, 8080));
                const SocketAddress client = app.local();
                CHECK(app.echoes("hello"));
                if (from == &world.plain1 && to == &world.client) {
                    const std::string rows = dump_map(world.one, "cv_flows");
                    CHECK(rows.find("\"destination_port\": 8080") != std::string::npos);
                    CHECK(rows.find("\"destination_port\": 15006") == std::string::npos);
                }
                app.close();
                CHECK(echo.guest(0).from.ip == from->ip(family));
                CHECK(echo.guest(0).to == to->at(family, 8080));
                const auto line =
                    world.node_of(*to).access_log().wait_for({{"direction", "inbound"},
                                                              {"src.addr", client.to_string()},
                                                              {"dst.addr", to->at(family, 8080).to_string()}});
                CHECK(line["src.identity"] == "");
                CHECK(redirected_in(*to, family) == in + 1);
            }
        }
        for (Pod* to : {&world.plain1, &world.plain2, &world.tcp2}) {
            CAPTURE(to->name());
            Server echo{to->netns(), 8080, apps::echo};
            const unsigned long past = redirected(world.client, family);
            world.mark();
            Connection app = world.client.dial(to->at(family, 8080));
            const SocketAddress client = app.local();
            CHECK(app.echoes("hello"));
            app.close();
            CHECK(echo.guest(0).from.ip == world.client.ip(family));
            world.one.access_log().wait_for({{"direction", "outbound"},
                                             {"src.addr", client.to_string()},
                                             {"dst.addr", to->at(family, 8080).to_string()}});
            CHECK(redirected(world.client, family) == past);
        }
    }
}

TEST_CASE("prepared: probes by the node's rule, loopback and the own address reach the app and no proxy" BOTH_FAMILIES
              PREPARED) {
    World& world = prepared();
    const IstioProbes probes{world.lab, {&world.client}};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.client.netns(), 8080, apps::echo};
        const ReasonCount passed{world.one, "PASS_RULES"};
        world.mark();
        Connection probe = Connection::open(world.lab.node_netns(1), {.to = world.client.at(family, 8080)});
        CHECK(probe.echoes("alive?"));
        CHECK(echo.last_guest().from.ip == IstioProbes::seen_from(family));
        Connection self = world.client.dial(world.client.at(family, 8080));
        CHECK(self.echoes("just us"));
        CHECK(echo.last_guest().from.ip == world.client.ip(family));
        const IpAddress loopback = *IpAddress::parse(family == Family::v4 ? "127.0.0.1" : "::1");
        Connection around = world.client.dial(SocketAddress{loopback, 8080});
        CHECK(around.echoes("just us"));
        CHECK(passed.rises(2));
        for (Connection* one : {&probe, &self, &around}) one->close();
        // A call that is carried: the lines of those before it would be there by now.
        Connection carried = world.plain1.dial(world.client.at(family, 8080));
        CHECK(carried.echoes("carried"));
        carried.close();
        world.one.access_log().wait_for(
            {{"direction", "inbound"}, {"dst.addr", world.client.at(family, 8080).to_string()}});
        CHECK(world.one.access_log().since_mark().size() == 1);
    }
}

TEST_CASE(
    "prepared: an app that marks its captured socket as the proxy's in mid-flow sends nothing past us" BOTH_FAMILIES
        PREPARED) {
    World& world = prepared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Server echo{world.plain2.netns(), 8080, apps::echo};
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        const ReasonCount held{world.one, "GUARD_CAPTURED"};
        Connection app = world.client.dial(world.plain2.at(family, 8080));
        CHECK(app.echoes("by the proxy"));
        const int mark = 0x539;
        CHECK(::setsockopt(app.fd(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0);
        app.send("past-the-proxy");
        CHECK(held.rises());
        CHECK(holding(cable.packets(), "past-the-proxy").empty());
    }
}

TEST_CASE("prepared: what the rules bring from a virtual interface is the pod's outbound" BOTH_FAMILIES PREPARED) {
    World& world = prepared();
    const Nested nested{world.client};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        // As istio-cni writes them where a pod's annotation names the interface.
        const std::string program = family == Family::v4 ? "iptables-nft" : "ip6tables-nft";
        must({program, "-t", "nat", "-I", "ISTIO_PRERT", "1", "-i", "br-vm", "-p", "tcp", "-j", "RETURN"},
             world.client.netns());
        must({program, "-t", "nat", "-I", "ISTIO_PRERT", "1", "-i", "br-vm", "-p", "tcp", "-j", "REDIRECT",
              "--to-ports", "15001"},
             world.client.netns());
        Server echo{world.far.netns(), 8080, apps::echo};
        // REDIRECT leads to the interface's address, which is new: until the daemon has heard of it, who comes is
        // refused.
        CHECK(
            eventually(5s, [&] { return attempt(nested.inner.get(), {.to = world.far.at(family, 8080)}).error == 0; }));
        world.mark();
        Connection app = Connection::open(nested.inner.get(), {.to = world.far.at(family, 8080)});
        CHECK(app.echoes("from within"));
        app.close();
        world.two.access_log().wait_for({{"direction", "inbound"},
                                         {"dst.hbone_addr", world.far.at(family, 8080).to_string()},
                                         {"src.identity", world.mesh.identity(world.client)}});
        for (int rule = 0; rule < 2; ++rule)
            must({program, "-t", "nat", "-D", "ISTIO_PRERT", "1"}, world.client.netns());
    }
}

TEST_CASE(
    "prepared: a daemon that dies leaves pods closed, the next one opens them, and the rules are as they were" IPV4
        PREPARED) {
    World& world = prepared();
    const auto before = istio_rules_in(world.client);
    CHECK(before.size() > 20);
    Server echo{world.client.netns(), 8080, apps::echo};
    Server far{world.far.netns(), 8080, apps::echo};
    world.one.kill9();
    CHECK(world.client.attempt(world.far.at(Family::v4, 8080)).error != 0);
    CHECK(world.client.attempt(world.plain1.at(Family::v4, 22)).error != 0);
    CHECK(world.plain1.attempt(world.client.at(Family::v4, 8080)).error == ECONNREFUSED);
    CHECK(echo.guests().empty());
    CHECK(istio_rules_in(world.client) == before);

    world.one.start();
    CHECK(world.one.says({"client is captured", "outbound by sockops, inbound by istio-cni's rules"}));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("again"));
    CHECK(world.far.dial(world.client.at(Family::v4, 8080)).echoes("again"));
    CHECK(istio_rules_in(world.client) == before);

    Process old = world.one.start_successor(culvertd());
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("taken over"));
    CHECK(world.plain1.dial(world.client.at(Family::v4, 8080)).echoes("taken over"));
    old.signal(SIGTERM);
    old.wait(10s);
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("taken over"));
    CHECK(world.plain1.dial(world.client.at(Family::v4, 8080)).echoes("taken over"));
    CHECK(istio_rules_in(world.client) == before);
}

TEST_CASE("prepared: where the rules are lost, the programs bring what comes as well" IPV4 PREPARED) {
    World world{[](Mesh& mesh) {
        for (const Workload& workload : mesh.workloads)
            if (workload.pod->name() == "client") write_istio_rules(*workload.pod);
    }};
    Server echo{world.client.netns(), 8080, apps::echo};
    remove_istio_rules(world.client);
    CHECK(world.one.says({"client: from now on it is captured by ebpf"}, 30s));
    world.mark();
    CHECK(world.plain1.dial(world.client.at(Family::v4, 8080)).echoes("to the proxy"));
    CHECK(world.near.dial(world.client.at(Family::v4, 8080)).echoes("by a tunnel"));
    world.one.access_log().wait_for({{"direction", "inbound"}, {"src.identity", ""}, {"dst.workload", "client"}});
}

TEST_CASE("prepared: a pod that leaves, and cleanup, leave the rules and nothing of ours" IPV4 PREPARED) {
    World world{[](Mesh& mesh) {
        write_istio_rules(*mesh.workloads[0].pod, Iptables::legacy);  // client
        write_istio_rules(*mesh.workloads[1].pod);                    // near
        mesh.workloads[1].exclude = "{outboundPorts: [8082], inboundPorts: [8080]}";
    }};
    const auto client = istio_rules_in(world.client, Iptables::legacy), near = istio_rules_in(world.near);
    Server echo{world.near.netns(), 8080, apps::echo};
    CHECK(world.one.says({"client is captured", "inbound by istio-cni's rules"}));
    CHECK(world.one.says({"near: inbound ports do not bypass the mesh"}));
    CHECK(world.plain1.dial(world.near.at(Family::v4, 8080)).echoes("excluded in vain"));
    world.one.access_log().wait_for(
        {{"direction", "inbound"}, {"src.identity", ""}, {"dst.addr", world.near.at(Family::v4, 8080).to_string()}});
    CHECK(world.client.dial(world.near.at(Family::v4, 8080)).echoes("legacy rules"));
    const std::vector<std::string> why{"explain", world.plain1.ip(Family::v4).to_string(), "near", "8080"};
    Output said = ask(world, world.one, why);
    CHECK(said.status == 0);
    CHECK(holds(said, "inbound port 8080 is excluded in vain: istio-cni's rules in the pod bring it to the proxy"));
    const std::string without = world.mesh.settings.extra;
    world.mesh.settings.extra +=
        "policies:\n- {name: sealed, namespace: ns, scope: Namespace, action: Deny, dryRun: false, rules: "
        "[[[{notPrincipals: [!Presence []]}]]]}\n";
    world.reconfigure();
    CHECK(world.one.says({"applied"}));
    said = ask(world, world.one, why);
    CHECK(said.status == 4);
    CHECK(holds(said, "no, denied by ns/sealed"));
    CHECK(fate(world.plain1.netns(), {.to = world.near.at(Family::v4, 8080)}) == "reset");
    world.mesh.settings.extra = without;
    world.reconfigure();
    CHECK(world.one.says({"applied"}));
    // What a pod excludes goes past the rules, too.
    Server excluded{world.plain1.netns(), 8082, apps::echo};
    const ReasonCount past{world.one, "CONNECT_EXCLUDED_PORT"};
    CHECK(world.near.dial(world.plain1.at(Family::v4, 8082)).echoes("past all"));
    CHECK(past.rise() == 1);
    CHECK(met(world.near, Family::v4, "ISTIO_OUTPUT", "--to-ports 15001") == 0);

    world.leave(world.client);
    CHECK(istio_rules_in(world.client, Iptables::legacy) == client);
    CHECK(left_in(world.client).find("0x112") == std::string::npos);
    // istio-cni takes its rules out by itself.
    CHECK(world.client.attempt(world.near.at(Family::v4, 8080)).error == ECONNREFUSED);
    remove_istio_rules(world.client, Iptables::legacy);
    CHECK(world.client.dial(world.near.at(Family::v4, 8080)).echoes("as itself"));
    CHECK(left_in(world.client) == "");

    world.one.signal(SIGTERM);
    CHECK(world.one.wait_exit(20s) == 0);
    CHECK(world.one.cleanup().status == 0);
    CHECK(istio_rules_in(world.near) == near);
    CHECK(left_in(world.near).find("0x112") == std::string::npos);
}

TEST_CASE("prepared: questions are waited for at the address that is set, where rules may send them" IPV4 PREPARED) {
    if (!under_istiod()) return;  // a file has no such setting
    World& world = prepared();
    auto refused_at = [&](std::uint16_t port) {
        return world.client.attempt({*IpAddress::parse("127.0.0.1"), port}).error == ECONNREFUSED;
    };
    CHECK_FALSE(refused_at(15053));
    for (const std::uint16_t port : {15054, 15053}) {
        world.one.signal(SIGTERM);
        REQUIRE(world.one.wait_exit(10s) == 0);
        world.one.set_variable("ISTIO_META_DNS_PROXY_ADDR", "127.0.0.1:" + std::to_string(port));
        world.one.start();
        CHECK(world.one.says({"DNS_PROXY_ADDR", "has a meaning only in pods with rules"}, 0ms) == (port == 15054));
        CHECK(eventually(5s, [&] { return !refused_at(port); }));
        CHECK(refused_at(port == 15054 ? 15053 : 15054));
    }
}

}
