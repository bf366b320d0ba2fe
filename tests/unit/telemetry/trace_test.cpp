// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/connection_record.hpp>

#include <doctest/doctest.h>

#include "folder.hpp"

using namespace culvert;
using namespace culvert::telemetry;

namespace {

state::WorkloadPtr workload(const std::string& uid) {
    state::Workload made;
    made.uid = uid;
    return std::make_shared<const state::Workload>(made);
}

// Somebody asks for the pod "ours", whose address is 10.0.0.1.
struct Scene {
    Folder folder;
    std::unique_ptr<AccessLog> log = std::move(*AccessLog::open(folder / "access.log", base::log::Format::text, 1));
    WorkerCounters counters;
    Recorder recorder{*log, 0, counters};
    base::SocketAddress ours = base::SocketAddress::parse("10.0.0.1:4000").value();
    base::SocketAddress theirs = base::SocketAddress::parse("10.0.0.2:80").value();
    std::shared_ptr<TraceRing> ring = std::make_shared<TraceRing>();

    Scene() { recorder.trace = std::make_shared<const Trace>(Trace::Pods{{"ours"}, {{ours.ip, "ours"}}}, ring); }
    std::vector<TraceEvent> events() {
        std::vector<TraceEvent> all;
        for (TraceEvent event; ring->events.pop(event);) all.push_back(std::move(event));
        return all;
    }
};

}

TEST_SUITE("telemetry") {

TEST_CASE("trace: the end of a connection is told with its reason, bytes and ends") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, scene.ours, scene.theirs};
        record.entry.source_workload = workload("ours");
        record.entry.destination_workload = workload("theirs");
        record.context_known();
        record.sent(3);
        record.close(CloseReason::broken, "it broke");
    }
    auto events = scene.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].what == TraceEvent::What::end);
    CHECK_FALSE(events[0].good);
    CHECK(events[0].reason == CloseReason::broken);
    CHECK(events[0].text == "it broke");
    CHECK(events[0].pod == "ours");
    CHECK(events[0].bytes_sent == 3);
    CHECK(events[0].destination == scene.theirs);
    CHECK(events[0].destination_workload->uid == "theirs");
}

TEST_CASE("trace: nothing is told of other pods, also when they talk to one that is asked for") {
    Scene scene;
    {
        ConnectionRecord in{scene.recorder, Direction::inbound, scene.ours, scene.theirs};
        in.entry.source_workload = workload("ours");
        in.entry.destination_workload = workload("theirs");
        ConnectionRecord out{scene.recorder, Direction::outbound, scene.theirs, scene.ours};
    }
    CHECK(scene.events().empty());
}

TEST_CASE("trace: what ends before anybody knows whose it is, is told by its address") {
    Scene scene;
    ConnectionRecord{scene.recorder, Direction::outbound, scene.ours, scene.theirs}.close(CloseReason::not_ready);
    ConnectionRecord{scene.recorder, Direction::inbound, scene.theirs, scene.ours}.close(CloseReason::handshake_failed);
    auto events = scene.events();
    REQUIRE(events.size() == 2);
    CHECK(events[0].reason == CloseReason::not_ready);
    CHECK(events[1].reason == CloseReason::handshake_failed);
}

TEST_CASE("trace: when nobody reads, events are dropped and counted") {
    Scene scene;
    for (std::size_t i = 0; i < TraceRing::bound + 5; ++i)
        ConnectionRecord{scene.recorder, Direction::outbound, scene.ours, scene.theirs}.close(CloseReason::ok);
    CHECK(scene.ring->dropped.get() == 5);
    CHECK(scene.events().size() == TraceRing::bound);
}

}
