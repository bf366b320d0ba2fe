// SPDX-License-Identifier: Apache-2.0
#include <culvert/proxy/live.hpp>
#include <culvert/telemetry/connection_record.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <list>

using namespace culvert;
using namespace culvert::proxy;
using telemetry::ConnectionRecord;
using telemetry::Direction;

namespace {

state::WorkloadPtr workload(const std::string& name) {
    state::Workload made;
    made.uid = "uid-" + name;
    made.name = name;
    made.namespace_ = "ns";
    return std::make_shared<const state::Workload>(made);
}

struct Scene {
    std::unique_ptr<telemetry::AccessLog> log =
        std::move(*telemetry::AccessLog::open("/dev/null", base::log::Format::text, 1));
    telemetry::WorkerCounters counters;
    telemetry::Recorder recorder{*log, 0, counters};
    state::WorkloadPtr a = workload("a"), b = workload("b");
    std::list<ConnectionRecord> records;

    ConnectionRecord& add(Direction direction, std::uint16_t port) {
        base::SocketAddress address{base::IpAddress::any(AF_INET), port};
        auto& record = records.emplace_back(recorder, direction, address, address);
        record.entry.source_workload = a;
        record.entry.destination_workload = b;
        return record;
    }
};

}

TEST_SUITE("proxy") {

TEST_CASE("live: pages follow each other, oldest first, and nothing is told twice or left out") {
    Scene scene;
    for (std::uint16_t port = 1; port <= 1003; ++port) scene.add(Direction::outbound, port);
    scene.records.erase(std::next(scene.records.begin(), 41));
    std::vector<int> ports;
    ConnectionQuery query{.limit = 100};
    for (int pages = 0; pages < 20; ++pages) {
        auto page = page_of(scene.recorder, query);
        for (const auto& live : page.connections) ports.push_back(live.source.port);
        if (!page.more) break;
        CHECK(page.connections.size() >= 100);
        query.after = page.connections.back().began;
    }
    REQUIRE(ports.size() == 1002);
    CHECK(std::ranges::is_sorted(ports));
    CHECK(std::ranges::find(ports, 42) == ports.end());
    CHECK(ports.back() == 1003);
}

TEST_CASE("live: a pod is found by each of its names, on its own side of a connection") {
    Scene scene;
    scene.add(Direction::outbound, 1).sent(5);
    scene.add(Direction::inbound, 2).received(7);
    for (const char* name : {"a", "ns/a", "uid-a"}) {
        auto page = page_of(scene.recorder, {.pod = name});
        REQUIRE(page.connections.size() == 1);
        CHECK(page.connections[0].source.port == 1);
        CHECK(page.connections[0].bytes_sent == 5);
    }
    auto page = page_of(scene.recorder, {.pod = "b"});
    REQUIRE(page.connections.size() == 1);
    CHECK(page.connections[0].bytes_received == 7);
    CHECK(page_of(scene.recorder, {.pod = "ns"}).connections.empty());
    CHECK(page_of(scene.recorder, {}).connections.size() == 2);

    auto pods = connections_of_pods(scene.recorder);
    CHECK(pods.size() == 2);
    CHECK(pods["uid-a"].connections == 1);
    CHECK(pods["uid-b"].connections == 1);
}

}
