// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/doors.hpp>
#include <culvert/telemetry/metrics.hpp>

#include "client.hpp"

using namespace culvert;
using namespace culvert::admin;

TEST_SUITE("admin") {

TEST_CASE("readiness: names what is pending until the last part is done, in ztunnel's words") {
    Readiness readiness;
    readiness.pending("proxy");
    readiness.pending("configuration");
    OpenDoor door{readiness_routes(readiness)};
    Client client{door.address};
    auto answer = client.get("/healthz/ready");
    CHECK(answer.starts_with("HTTP/1.1 500 "));
    CHECK(answer.ends_with("\r\n\r\nnot ready, pending: configuration, proxy\n"));
    readiness.done("configuration");
    CHECK(client.get("/healthz/ready").ends_with("\r\n\r\nnot ready, pending: proxy\n"));
    CHECK_FALSE(readiness.ready());
    readiness.done("proxy");
    CHECK(readiness.ready());
    answer = client.get("/healthz/ready");
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with("\r\n\r\nready\n"));
    readiness.pending("draining");
    CHECK(client.get("/healthz/ready").starts_with("HTTP/1.1 500 "));
}

TEST_CASE("readiness: parts are named and done by any thread while the door is asked") {
    Readiness readiness;
    OpenDoor door{readiness_routes(readiness)};
    std::thread other{[&] {
        for (int i = 0; i < 2000; ++i) {
            readiness.pending("part");
            readiness.done("part");
        }
    }};
    Client client{door.address};
    int odd = 0;
    for (int i = 0; i < 200; ++i) {
        auto answer = client.get("/healthz/ready");
        bool ready = answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nready\n");
        bool waits = answer.starts_with("HTTP/1.1 500") && answer.ends_with("\r\n\r\nnot ready, pending: part\n");
        odd += !ready && !waits;
    }
    other.join();
    CHECK(odd == 0);
}

TEST_CASE("metrics door: the whole text under both paths") {
    telemetry::WorkerCounters worker;
    worker.connections_outbound.add(7);
    telemetry::Metrics metrics{"0.1.0", "abc"};
    metrics.add({&worker});
    OpenDoor door{metrics_routes(metrics)};
    Client client{door.address};
    for (const char* path : {"/metrics", "/stats/prometheus"}) {
        CAPTURE(path);
        auto answer = client.get(path);
        CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        CHECK(has(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        CHECK(has(answer, "\nculvert_proxy_connections_outbound_total 7\n"));
        CHECK(answer.ends_with("\n# EOF\n"));
    }
    CHECK(client.get("/healthz/ready").starts_with("HTTP/1.1 404 "));
}

}
