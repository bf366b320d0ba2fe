// SPDX-License-Identifier: Apache-2.0
// VMs and containers inside a pod: captured where their interface is known to be theirs, told "refused" where not.
#include "daemon.hpp"

namespace culvert::test {

namespace {

// The rule that userspace adds for every virtual interface.
void deliver_locally(const Namespaces& where) {
    for (const char* ip : {"ip", "ip -6"})
        where.run(std::string{ip} + " -n $POD rule add iif vm ipproto tcp lookup 100 pref 109");
}

// What container runtimes and hypervisors set up.
void masquerade(const Namespaces& where) {
    where.run(
        "ip netns exec $POD sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1;"
        "ip netns exec $POD iptables -t nat -A POSTROUTING -s 10.78.0.0/24 -o eth0 -j MASQUERADE;"
        "ip netns exec $POD ip6tables -t nat -A POSTROUTING -s fd78::/64 -o eth0 -j MASQUERADE");
}

void check_refused(const Connection& tried) {
    CHECK(tried.error == ECONNREFUSED);
    CHECK(tried.milliseconds < 200);
}

}

TEST_SUITE("nested") {

TEST_CASE("nested: what comes by a virtual interface meets the proxy, also when it calls the pod itself") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Nested vm{where};
        Daemon daemon{where, after.instance};
        daemon.enrol();
        daemon.set_virtual_interfaces(vm.interface());
        deliver_locally(where);
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            Pair inside = row.family == AF_INET ? Nested::ipv4 : Nested::ipv6;
            Fd app = listen_in(where.pod(), row.family == AF_INET ? "0.0.0.0" : "::", 80);
            for (auto [to, port] : {std::pair{row.at.vip, 80}, std::pair{row.at.vip, 15008}, std::pair{row.at.pod, 80},
                                    std::pair{row.at.pod, 15008}, std::pair{inside.node, 80}}) {
                CAPTURE(to);
                auto guest = connect_in(vm.netns(), to, static_cast<std::uint16_t>(port));
                INFO(daemon.reasons());
                CHECK(guest.error == 0);
                Fd proxy = daemon.accept(Arrival::outbound, row.family);
                REQUIRE(bool(proxy));
                CHECK(base::local_address(proxy.get()).ip.to_string() == to);
                CHECK(base::peer_address(proxy.get()).ip.to_string() == inside.pod);
            }
            // The pod's own app calls the interface's address, and so does a leg: both report that interface, too.
            CHECK(connect_in(where.pod(), inside.node, 80).error == 0);
            CHECK(bool(accept_from(app.get())));
            Fd leg = leg_from(daemon, where.pod(), row.family == AF_INET ? "198.51.100.7" : "fd99::7");
            CHECK(reconnect(leg.get(), inside.node, 80) == 0);
            CHECK(bool(accept_from(app.get())));
        }
        CHECK(daemon.count("TO_OUTBOUND") == 10);
        CHECK(daemon.count("PASS_SELF") == 2);
        CHECK(daemon.count("PASS_LEG") == 2);
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("nested: an interface that is not known as virtual is the world outside") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Nested vm{where};
        Daemon daemon{where, after.instance};
        daemon.enrol();
        deliver_locally(where);
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            CHECK(connect_in(vm.netns(), row.at.vip, 80, {.limit_ms = 50}).error != 0);
            connect_in(vm.netns(), row.at.pod, 80, {.limit_ms = 50});
        }
        CHECK(daemon.count("DROP_FOREIGN") == 2);
        CHECK(daemon.count("TO_INBOUND") == 2);
        CHECK(daemon.count("TO_OUTBOUND") == 0);
    });
}

TEST_CASE("nested: behind masquerade a connect is refused at once, and nothing is on the wire") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Nested inside{where};
        Daemon daemon{where, after.instance};
        masquerade(where);
        Fd server4 = listen_in(where.node(), ipv4.node, 80), server6 = listen_in(where.node(), ipv6.node, 80);
        for (const FamilyRow& row : families) REQUIRE(connect_in(inside.netns(), row.at.node, 80).error == 0);
        daemon.enrol();
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            check_refused(connect_in(inside.netns(), row.at.node, 80));
        }
        CHECK(daemon.count("GUARD_SYN") == 2);
        CHECK(wire.look().resets == 0);
    });
}

TEST_CASE("nested: a macvlan's owner is refused at once, and nothing is on the wire") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Nested inside{where};
        where.run(
            "ip -n $POD link add link eth0 name mv0 address 02:00:00:00:77:03 type macvlan mode bridge;"
            "ip -n $POD link set mv0 netns " +
            inside.name());
        where.run(
            "for way in 'addr add 10.77.0.3/24 dev mv0' 'addr add fd77::3/64 dev mv0 nodad' 'link set mv0 up' "
            "'neigh replace fd77::1 lladdr 02:00:00:00:77:01 dev mv0'; do ip -n " +
            inside.name() + " $way; done; ip -n $NODE neigh replace fd77::3 lladdr 02:00:00:00:77:03 dev veth0");
        Daemon daemon{where, after.instance};
        Fd server4 = listen_in(where.node(), ipv4.node, 80), server6 = listen_in(where.node(), ipv6.node, 80);
        for (const FamilyRow& row : families) REQUIRE(connect_in(inside.netns(), row.at.node, 80).error == 0);
        daemon.enrol();
        Tap wire{where};
        for (const FamilyRow& row : families) {
            CAPTURE(row.name);
            check_refused(connect_in(inside.netns(), row.at.node, 80));
        }
        CHECK(daemon.count("GUARD_SYN") == 2);
        CHECK(wire.tcp_packets() == 0);
    });
}

TEST_CASE("nested: who connects to it from outside, past the proxy, is not even refused") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Nested inside{where};
        Daemon daemon{where, after.instance};
        masquerade(where);
        where.run("ip -n $NODE route add 10.78.0.0/24 via 10.77.0.2; ip -n $NODE route add fd78::/64 via fd77::2");
        daemon.enrol();
        Tap wire{where};
        for (const char* to : {Nested::ipv4.pod, Nested::ipv6.pod}) {
            CAPTURE(to);
            Fd server = listen_in(inside.netns(), to, 80);
            CHECK(connect_in(where.node(), to, 80, {.limit_ms = 100}).error == ETIMEDOUT);
        }
        CHECK(daemon.count("GUARD_SYN") >= 2);
        CHECK(wire.look().resets == 0);
    });
}

}

}
