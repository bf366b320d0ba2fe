// SPDX-License-Identifier: Apache-2.0
#include "headers.hpp"

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

TEST_CASE("traceparent: of the W3C's shape and never the same twice") {
    state::Random random{7};
    std::regex shape{"00-[0-9a-f]{32}-[0-9a-f]{16}-00"};
    std::string first = proxy::new_traceparent(random);
    CHECK(std::regex_match(first, shape));
    CHECK(first != proxy::new_traceparent(random));
}

}
