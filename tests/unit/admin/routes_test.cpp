// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

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

TEST_CASE("metrics door: any method, and the dialect that is asked for") {
    telemetry::Metrics metrics{"0.1.0", "abc"};
    OpenDoor door{metrics_routes(metrics)};
    Client client{door.address};
    REQUIRE(client.send("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
    auto answer = client.response();
    CHECK(has(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    CHECK(has(answer, "\n# TYPE process_cpu_seconds_total counter\n"));
    REQUIRE(client.send("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.8\r\n\r\n"));
    answer = client.response();
    CHECK(has(answer, "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    CHECK(has(answer, "\n# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total "));
    CHECK(answer.ends_with("\n# EOF\n"));
}

TEST_CASE("metrics door: whoever takes gzip gets it") {
    telemetry::Metrics metrics{"0.1.0", "abc"};
    OpenDoor door{metrics_routes(metrics)};
    Client client{door.address};
    REQUIRE(client.send("GET /metrics HTTP/1.1\r\nAccept-Encoding: br, gzip\r\n\r\n"));
    auto answer = client.response();
    REQUIRE(has(answer, "\r\nContent-Encoding: gzip\r\n"));
    auto small = answer.substr(answer.find("\r\n\r\n") + 4);
    z_stream in{};
    REQUIRE(inflateInit2(&in, 15 + 16) == Z_OK);
    std::string page(small.size() * 100, '\0');
    in.next_in = reinterpret_cast<Bytef*>(small.data());
    in.avail_in = static_cast<uInt>(small.size());
    in.next_out = reinterpret_cast<Bytef*>(page.data());
    in.avail_out = static_cast<uInt>(page.size());
    CHECK(inflate(&in, Z_FINISH) == Z_STREAM_END);
    page.resize(page.size() - in.avail_out);
    inflateEnd(&in);
    CHECK(has(page, "culvert_build_info{version=\"0.1.0\",commit=\"abc\"} 1\n"));
    CHECK(page.ends_with("\n# EOF\n"));
    for (const char* not_wanted : {"", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0, deflate\r\n"}) {
        CAPTURE(not_wanted);
        REQUIRE(client.send(std::string{"GET /metrics HTTP/1.1\r\n"} + not_wanted + "\r\n"));
        CHECK(client.response().ends_with("\n# EOF\n"));
    }
}

TEST_CASE("metrics door: the page is written after what it shows was asked for") {
    telemetry::Metrics metrics{"0.1.0", "abc"};
    int asked = 0;
    metrics.add(telemetry::families::capture_pods, [&] { return asked; });
    OpenDoor door{metrics_routes(metrics, [&](const std::function<void()>& done) {
        ++asked;
        done();
    })};
    Client client{door.address};
    CHECK(has(client.get("/metrics"), "\nculvert_capture_pods 1\n"));
    CHECK(has(client.get("/metrics"), "\nculvert_capture_pods 2\n"));
}

}
