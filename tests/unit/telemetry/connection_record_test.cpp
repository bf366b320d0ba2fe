// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/connection_record.hpp>

#include <doctest/doctest.h>

#include "folder.hpp"

using namespace culvert;
using namespace culvert::telemetry;

namespace {

// A record's surroundings; lines() ends the log and reads what it wrote.
struct Scene {
    Folder folder;
    std::unique_ptr<AccessLog> log = std::move(*AccessLog::open(folder / "access.log", base::log::Format::text, 1));
    WorkerCounters counters;
    Recorder recorder{*log, 0, counters};
    base::SocketAddress client = base::SocketAddress::parse("10.0.0.1:4000").value();
    base::SocketAddress server = base::SocketAddress::parse("10.0.0.2:80").value();

    std::uint64_t closed(CloseReason reason) { return counters.closed[static_cast<std::size_t>(reason)].get(); }
    std::vector<std::string> lines() {
        log.reset();
        return lines_of(folder / "access.log");
    }
};

bool has(const std::string& line, std::string_view part) {
    return line.find(part) != std::string::npos;
}

}

TEST_SUITE("telemetry") {

TEST_CASE("connection record: one line, one reason, and the open gauge goes up and down") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, scene.client, scene.server};
        CHECK(scene.counters.connections_open.get() == 1);
        record.context_known();
        record.close(CloseReason::ok);
    }
    CHECK(scene.counters.connections_open.get() == 0);
    CHECK(scene.closed(CloseReason::ok) == 1);
    auto lines = scene.lines();
    REQUIRE(lines.size() == 1);
    CHECK(has(lines[0], "\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:4000 dst.addr=10.0.0.2:80 "));
    CHECK_FALSE(has(lines[0], "error="));
}

TEST_CASE("connection record: bytes are told from the reporting side's view") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, scene.client, scene.server};
        record.context_known();
        record.sent(10);
        record.sent(20);
        record.received(5);
        record.close(CloseReason::ok);
    }
    CHECK(has(scene.lines().at(0), "bytes_sent=30 bytes_recv=5 "));
}

TEST_CASE("connection record: destroyed without a word, it was drained") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::inbound, scene.client, scene.server};
        record.context_known();
    }
    CHECK(scene.closed(CloseReason::drained) == 1);
    auto line = scene.lines().at(0);
    CHECK(has(line, "\terror\taccess\tconnection complete\t"));
    CHECK(line.ends_with(" error=\"connection closed due to connection drain\""));
}

TEST_CASE("connection record: refused before its context was known is a failed connection") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, scene.client, scene.server};
        record.close(CloseReason::no_route, "no healthy upstream: 10.0.0.2:80");
    }
    CHECK(scene.closed(CloseReason::no_route) == 1);
    CHECK(has(scene.lines().at(0),
              "\twarn\taccess\tconnection failed\tsrc.addr=10.0.0.1:4000 dst.addr=10.0.0.2:80 "
              "direction=\"outbound\" error=\"no healthy upstream: 10.0.0.2:80\""));
}

TEST_CASE("connection record: the first reason stands, and a failure without a text gets the reason's sentence") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, scene.client, scene.server};
        record.context_known();
        record.close(CloseReason::over_limit);
        record.close(CloseReason::ok);
    }
    CHECK(scene.closed(CloseReason::over_limit) == 1);
    CHECK(scene.closed(CloseReason::ok) == 0);
    CHECK(scene.lines().at(0).ends_with(" error=\"a limit of this node was reached\""));
}

TEST_CASE("close reason: every one has a name of its own and a sentence") {
    for (std::size_t i = 0; i < close_reason_count; ++i) {
        auto reason = static_cast<CloseReason>(i);
        CHECK(to_string(reason) != "unknown");
        CHECK(description(reason).size() > 10);
        for (std::size_t j = 0; j < i; ++j) CHECK(to_string(reason) != to_string(static_cast<CloseReason>(j)));
    }
}

}
