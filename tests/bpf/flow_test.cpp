// SPDX-License-Identifier: Apache-2.0
// Rows of cv_flows from birth to death.
#include <bpf/bpf.h>

#include <culvert/bpf/flow.h>

#include "daemon.hpp"

namespace culvert::test {

using namespace std::chrono_literals;

namespace {

std::string dump(const Namespaces& where, const Daemon& daemon) {
    return where.run("bpftool map dump pinned /sys/fs/bpf/culvert/" + daemon.instance() + "/cv_flows");
}

}

TEST_SUITE("flows") {

TEST_CASE("flow: a captured connection has a row that reads well, and takes it along when it ends") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        auto& flows = daemon->flows();
        auto app = connect_in(where.pod(), ipv4.vip, 80);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        CHECK(flows.used() == 1);
        {
            auto flow = flows.claim(proxy.get());
            flow.identify("spiffe://cluster.local/ns/shop/sa/cart", std::string(500, 'x'));
            flow.took(CV_PATH_TUNNEL);
            flow.moved(70000, 5);
            flow.moved(7, 0);
            std::string text = dump(where, daemon);
            for (const char* word :
                 {"\"from_source_bytes\": 70007", "\"to_source_bytes\": 5", "CV_FLOW_OUTBOUND", "CV_FLOW_OPEN",
                  "CV_PATH_TUNNEL", "\"source\": \"spiffe://cluster.local/ns/shop/sa/cart\"",
                  "\"destination_port\": 80"}) {
                CAPTURE(word);
                CHECK(text.find(word) != std::string::npos);
            }
            app.fd.reset();
            proxy.reset();
            // Held by the worker beyond the socket's end, for the log line.
            flows.free_unclaimed(0s);
            CHECK(flows.used() == 1);
        }
        CHECK(flows.used() == 0);
    });
}

TEST_CASE("flow: a row that nobody claims is free again in time; tunnels and plain legs have none") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        auto& flows = daemon->flows();
        auto app = connect_in(where.pod(), ipv6.vip, 80);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET6);
        REQUIRE(bool(proxy));
        CHECK(flows.used() == 1);
        app.fd.reset();
        proxy.reset();
        flows.free_unclaimed(1h);
        CHECK(flows.used() == 1);
        flows.free_unclaimed(0s);
        CHECK(flows.used() == 0);

        Fd server = listen_in(where.pod(), ipv4.pod, 8080);
        Fd leg = leg_from(daemon, where.pod(), "198.51.100.7", OwnSocket::plain_leg);
        CHECK(reconnect(leg.get(), ipv4.pod, 8080) == 0);
        CHECK(flows.used() == 0);
        Fd tunnel_leg = leg_from(daemon, where.pod(), "198.51.100.8");
        CHECK(reconnect(tunnel_leg.get(), ipv4.pod, 8080) == 0);
        CHECK(flows.used() == 1);
        auto flow = flows.claim(tunnel_leg.get());
        CHECK(dump(where, daemon).find("CV_FLOW_INBOUND_TUNNEL") != std::string::npos);
    });
}

TEST_CASE("flow: when the table is full connections go on without a row, and it is counted") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        std::vector<Fd> open;
        for (int i = 0; i < 80; ++i) {
            auto app = connect_in(where.pod(), ipv4.vip, 80);
            CHECK(app.error == 0);
            Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
            CHECK(bool(proxy));
            open.push_back(std::move(app.fd));
            open.push_back(std::move(proxy));
        }
        CHECK(daemon->flows().used() >= 56);
        CHECK(daemon.count("FLOWS_FULL") >= 16);
        CHECK(daemon.count("FLOWS_FULL") + daemon.count("FLOW_OPENED") == 80);
    });
}

TEST_CASE("flow: neighbours that stay for long cost nobody a row while there are free ones") {
    on_enrolled([](Namespaces& where, Daemon& daemon) {
        const auto connect = [&] {
            auto app = connect_in(where.pod(), ipv4.vip, 80);
            Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
            REQUIRE(bool(proxy));
            return std::pair{std::move(app.fd), std::move(proxy)};
        };
        std::vector<std::pair<Fd, Fd>> kept;
        for (int i = 0; i < 36; ++i) kept.push_back(connect());
        for (int i = 0; i < 200; ++i) {
            auto passing = connect();
            CHECK(bool(daemon->flows().claim(passing.second.get())));
        }
        CHECK(daemon.count("FLOWS_FULL") == 0);
    });
}

TEST_CASE("flow: with the first rows taken, a connection gets one further back, and the daemon finds it") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon daemon{where, after.instance, false, 16 * CV_FLOW_NEAR_ROWS};
        daemon.enrol();
        Fd map{bpf_obj_get(("/sys/fs/bpf/culvert/" + after.instance + "/cv_flows").c_str())};
        REQUIRE(bool(map));
        cv_flow taken{};
        taken.owner = 1;
        for (__u32 row = 0; row < 2 * CV_FLOW_NEAR_ROWS; ++row)
            REQUIRE(bpf_map_update_elem(map.get(), &row, &taken, BPF_ANY) == 0);
        auto app = connect_in(where.pod(), ipv4.vip, 80);
        Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        CHECK(daemon->flows().used() == 2 * CV_FLOW_NEAR_ROWS + 1);
        auto flow = daemon->flows().claim(proxy.get());
        REQUIRE(bool(flow));
        flow.identify("spiffe://cluster.local/ns/shop/sa/cart", "");
        int found = 0;
        cv_flow seen{};
        for (__u32 row = 2 * CV_FLOW_NEAR_ROWS; row < 16 * CV_FLOW_NEAR_ROWS; ++row)
            if (bpf_map_lookup_elem(map.get(), &row, &seen) == 0 && seen.owner != 0)
                found += std::string{seen.source} == "spiffe://cluster.local/ns/shop/sa/cart";
        CHECK(found == 1);
    });
}

TEST_CASE("flow: rows that a dead daemon's workers held are free again after a restart") {
    on_node([](Namespaces& where) {
        Cleaned after;
        {
            Daemon daemon{where, after.instance};
            daemon.enrol();
            auto app = connect_in(where.pod(), ipv4.vip, 80);
            Fd proxy = daemon.accept(Arrival::outbound, AF_INET);
            // What a killed process leaves: a held row that no destructor gives back.
            alignas(capture::Flow) unsigned char abandoned[sizeof(capture::Flow)];
            new (abandoned) capture::Flow{daemon->flows().claim(proxy.get())};
            app.fd.reset();
            proxy.reset();
            ::usleep(50000);
            CHECK(daemon->flows().used() == 1);
        }
        Daemon daemon{where, after.instance};
        CHECK(daemon->flows().used() == 0);
    });
}

TEST_CASE("flow: a successor leaves the rows alone that the daemon before it holds") {
    on_node([](Namespaces& where) {
        Cleaned after;
        Daemon first{where, after.instance};
        first.enrol();
        auto app = connect_in(where.pod(), ipv4.vip, 80);
        Fd proxy = first.accept(Arrival::outbound, AF_INET);
        REQUIRE(bool(proxy));
        auto flow = first->flows().claim(proxy.get());
        Daemon second{where, after.instance, true};
        flow.moved(5, 0);
        CHECK(second->flows().used() == 1);
        std::string text = dump(where, second);
        CHECK(text.find("\"from_source_bytes\": 5") != std::string::npos);
        CHECK(text.find("\"destination_port\": 80") != std::string::npos);
    });
}

}

}
