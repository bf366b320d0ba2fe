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

}

}
