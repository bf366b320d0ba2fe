// SPDX-License-Identifier: Apache-2.0
#include "headers.hpp"
#include "strangers.hpp"

#include <doctest/doctest.h>

#include <regex>

using namespace culvert;

TEST_SUITE("proxy") {

TEST_CASE("baggage: what a real ztunnel sends for the same workload") {
    state::Workload workload;
    workload.cluster_id = "Kubernetes";
    workload.namespace_ = "bench";
    workload.workload_name = "client";
    workload.workload_type = "deployment";
    workload.canonical_name = "client";
    workload.canonical_revision = "v1";
    CHECK(proxy::baggage_of(workload) ==
          "k8s.cluster.name=Kubernetes,k8s.namespace.name=bench,k8s.deployment.name=client,service.name=client,service."
          "version=v1");
}

TEST_CASE("baggage: parts that are empty or would need escaping are left out") {
    state::Workload workload;
    CHECK(proxy::baggage_of(workload) == "");
    workload.namespace_ = "a,b=c";
    workload.cluster_id = "one";
    workload.workload_type = "cronjob";
    workload.workload_name = "nightly";
    CHECK(proxy::baggage_of(workload) == "k8s.cluster.name=one,k8s.cronjob.name=nightly");
}

TEST_CASE("baggage: what a peer's says of it, and only what is as we would write it") {
    const std::string text =
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=bench,k8s.cronjob.name=nightly,service.name=client,"
        "service.version=v1,cloud.region=north,cloud.availability_zone=n-1";
    auto told = proxy::workload_in(text);
    REQUIRE(told);
    CHECK(told->workload_type == "cronjob");
    CHECK(told->locality.zone == "n-1");
    CHECK(proxy::baggage_of(*told) == text);
    told = proxy::workload_in(" service.name = a ,k8s.namespace.name=a b,k8s.pod.name=,x=y,=z,service.version=" +
                              std::string(254, 'v') + ",k8s.cluster.name=\"quoted\",,service.name");
    REQUIRE(told);
    CHECK(proxy::baggage_of(*told) == "service.name=a");
    for (const char* nothing : {"", ",", "=", "x=y", "service.name", "service.name=%61", "SERVICE.NAME=a"}) {
        CAPTURE(nothing);
        CHECK_FALSE(proxy::workload_in(nothing));
    }
}

TEST_CASE("baggage: strangers with the same are one, and there are not too many of them") {
    proxy::Strangers strangers;
    auto now = proxy::Strangers::Clock::now();
    auto named = [](std::size_t number) { return "service.name=s" + std::to_string(number); };
    auto first = strangers.find(named(0), now);
    REQUIRE(first);
    CHECK(first->canonical_name == "s0");
    CHECK_FALSE(strangers.find("x=y", now));
    CHECK_FALSE(strangers.find(named(0) + ",x=" + std::string(1024, 'x'), now));
    for (std::size_t i = 1; i < proxy::Strangers::most; ++i) CHECK(strangers.find(named(i), now));
    CHECK_FALSE(strangers.find(named(proxy::Strangers::most), now));
    CHECK(strangers.find(named(0), now) == first);
    now += proxy::Strangers::kept;
    CHECK(strangers.find(named(proxy::Strangers::most), now));
    CHECK(strangers.find(named(0), now) != first);
}

TEST_CASE("forwarded: the client's address, in brackets where it is IPv6, and the service where one was called") {
    state::Service service;
    service.hostname = "web.default.svc.cluster.local";
    auto v4 = *base::SocketAddress::parse("10.71.1.10:1403");
    auto v6 = *base::SocketAddress::parse("[fd71::10]:1403");
    CHECK(proxy::forwarded_for(v4, &service) == "for=\"10.71.1.10:1403\";host=web.default.svc.cluster.local");
    CHECK(proxy::forwarded_for(v6, nullptr) == "for=\"[fd71::10]:1403\"");
    service.hostname = "*.example.org";
    CHECK(proxy::forwarded_for(v4, &service) == "for=\"10.71.1.10:1403\";host=*.example.org");
    for (const char* odd : {"a;for=\"10.0.0.1:80\"", "a\r\nx: y", "a, for=b", "\"a\""}) {
        CAPTURE(odd);
        service.hostname = odd;
        CHECK(proxy::forwarded_for(v4, &service) == "for=\"10.71.1.10:1403\"");
    }
}

TEST_CASE("forwarded: the host that a peer names") {
    struct Row {
        const char* forwarded;
        const char* host;
    };
    for (const Row& row : {
             Row{"for=\"10.71.1.10:1403\";host=web.default.svc.cluster.local", "web.default.svc.cluster.local"},
             Row{"for=\"[fd71::10]:1403\"", ""},
             Row{"for=10.0.0.1, for=10.0.0.2; Host=\"web\" ;proto=http", "web"},
             Row{"host=one;host=two", "one"},
             Row{"hosts=web;ghost=web", ""},
             Row{"host=", ""},
             Row{"host=\"", "\""},
             Row{";,;", ""},
             Row{"", ""},
         }) {
        CAPTURE(row.forwarded);
        CHECK(proxy::host_in(row.forwarded) == row.host);
    }
}

TEST_CASE("traceparent: of the W3C's shape and never the same twice") {
    state::Random random{7};
    std::regex shape{"00-[0-9a-f]{32}-[0-9a-f]{16}-00"};
    std::string first = proxy::new_traceparent(random);
    CHECK(std::regex_match(first, shape));
    CHECK(first != proxy::new_traceparent(random));
}

}
