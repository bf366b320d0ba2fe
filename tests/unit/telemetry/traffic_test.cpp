// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/traffic.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include <culvert/telemetry/connection_record.hpp>

#include "folder.hpp"

using namespace culvert;
using namespace culvert::telemetry;
using namespace std::chrono_literals;

namespace {

using Clock = TrafficTotals::Clock;

std::vector<std::string> sorted_lines(const std::string& text, const std::vector<std::string>& of) {
    std::vector<std::string> all;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        auto name = line.starts_with("# ") ? line.substr(std::min<std::size_t>(7, line.size())) : line;
        if (std::ranges::any_of(of, [&](const auto& family) { return name.starts_with(family); })) all.push_back(line);
    }
    std::ranges::sort(all);
    return all;
}

// Without quotes, and the flag where it belongs.
double value_of(const std::string& page, const std::string& name, const std::vector<std::string>& labels) {
    double sum = 0;
    std::istringstream lines{page};
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with(name + "{")) continue;
        auto has = [&line](const std::string& label) { return line.find(label) != std::string::npos; };
        if (std::ranges::all_of(labels, has)) sum += std::stod(line.substr(line.rfind(' ')));
    }
    return sum;
}

std::shared_ptr<state::Workload> workload(const std::string& name, const std::string& pod) {
    auto made = std::make_shared<state::Workload>();
    made->uid = "Kubernetes//Pod/bench/" + pod;
    made->name = pod;
    made->namespace_ = "bench";
    made->service_account = name;
    made->trust_domain = "cluster.local";
    made->workload_name = made->canonical_name = name;
    made->canonical_revision = "v1";
    made->cluster_id = "Kubernetes";
    return made;
}

state::ServicePtr service(const std::string& name) {
    auto made = std::make_shared<state::Service>();
    made->name = name;
    made->namespace_ = "bench";
    made->hostname = name + ".bench.svc.cluster.local";
    return made;
}

// One worker, and the totals that it is asked for.
struct Scene {
    Folder folder;
    std::unique_ptr<AccessLog> log = std::move(*AccessLog::open(folder / "access.log", base::log::Format::text, 1));
    WorkerCounters counters;
    Recorder recorder{*log, 0, counters};
    TrafficTotals totals;
    Clock::time_point now{};
    state::WorkloadPtr client = workload("client", "c1");
    state::WorkloadPtr server = workload("server", "s2");

    using Record = std::unique_ptr<ConnectionRecord>;
    Record outbound(state::WorkloadPtr to, state::ServicePtr by, bool tunnelled) {
        auto record = std::make_unique<ConnectionRecord>(recorder, Direction::outbound, base::SocketAddress{},
                                                         base::SocketAddress{});
        record->entry.source_workload = client;
        record->entry.destination_workload = std::move(to);
        record->entry.service = std::move(by);
        record->entry.mutual_tls = tunnelled;
        record->context_known();
        return record;
    }
    Record inbound(std::shared_ptr<const state::Identity> peer) {
        auto record = std::make_unique<ConnectionRecord>(recorder, Direction::inbound, base::SocketAddress{},
                                                         base::SocketAddress{});
        record->entry.source_workload = client;
        record->entry.destination_workload = server;
        record->entry.mutual_tls = peer != nullptr;
        record->entry.peer_identity = std::move(peer);
        record->context_known();
        return record;
    }
    static void moved(const Record& record, std::uint64_t sent, std::uint64_t received) {
        record->sent(sent);
        record->received(received);
    }
    void end(Record record, std::uint64_t sent, std::uint64_t received) {
        moved(record, sent, received);
        record->close(CloseReason::ok);
    }
    std::vector<TrafficSeries> take() {
        recorder.begin_look();
        while (recorder.look_on(2)) {
        }
        return recorder.end_look().series;
    }
    std::string page(Dialect dialect = Dialect::open_metrics) {
        for (const auto& fresh : take()) totals.add(fresh, now);
        std::string text;
        totals.append(text, dialect);
        return text;
    }
};

}

TEST_SUITE("telemetry") {

TEST_CASE("traffic: what a real ztunnel showed after the same connections, line by line") {
    std::ifstream file{RECORDED_METRICS};
    std::stringstream recorded;
    recorded << file.rdbuf();
    Scene scene;
    const auto identity = std::make_shared<const state::Identity>(scene.client->identity());
    scene.end(scene.outbound(scene.server, nullptr, true), 82, 150);
    scene.end(scene.outbound(scene.server, service("remote"), true), 78, 150);
    scene.end(scene.outbound(scene.server, nullptr, true), 82, 150);
    scene.end(scene.outbound(scene.server, service("local"), true), 78, 150);
    scene.end(scene.outbound(scene.server, nullptr, true), 81, 159);
    scene.page();  // in between, so that what follows is added
    scene.end(scene.outbound(nullptr, nullptr, false), 82, 151);
    scene.end(scene.outbound(nullptr, nullptr, false), 81, 159);
    scene.end(scene.inbound(identity), 150, 82);
    scene.end(scene.inbound(std::make_shared<const state::Identity>(*identity)), 150, 78);
    const std::vector<std::string> families{"istio_tcp_connections_opened", "istio_tcp_connections_closed",
                                            "istio_tcp_received_bytes", "istio_tcp_sent_bytes"};
    const auto wanted = sorted_lines(recorded.str(), families);
    REQUIRE(wanted.size() == 28);
    CHECK(sorted_lines(scene.page(), families) == wanted);
}

TEST_CASE("traffic: an open connection's bytes are there while it lives, and once") {
    Scene scene;
    auto record = scene.outbound(scene.server, nullptr, true);
    scene.moved(record, 100, 7);
    const std::string received = "istio_tcp_received_bytes_total", sent = "istio_tcp_sent_bytes_total";
    for (int again = 0; again < 2; ++again) {
        auto page = scene.page();
        CHECK(value_of(page, received, {}) == 100);
        CHECK(value_of(page, sent, {}) == 7);
    }
    scene.moved(record, 50, 0);
    CHECK(value_of(scene.page(), received, {}) == 150);
    scene.moved(record, 5, 1);
    record->close(CloseReason::ok);
    record.reset();
    for (int again = 0; again < 2; ++again) {
        auto page = scene.page();
        CHECK(value_of(page, received, {}) == 155);
        CHECK(value_of(page, sent, {}) == 8);
        CHECK(value_of(page, "istio_tcp_connections_closed_total", {}) == 1);
    }
}

TEST_CASE("traffic: what opens, moves and ends in the middle of a look is counted once") {
    Scene scene;
    std::vector<Scene::Record> open;
    for (int i = 0; i < 6; ++i) {
        open.push_back(scene.outbound(scene.server, nullptr, true));
        scene.moved(open.back(), 10, 1);
    }
    auto end = [&](std::size_t which) {
        open[which]->close(CloseReason::ok);
        open[which].reset();
    };
    scene.recorder.begin_look();
    CHECK(scene.recorder.look_on(3));
    scene.moved(open[0], 1, 0);  // looked at: the next look's
    scene.moved(open[4], 2, 0);  // not yet: this one's
    end(1);
    end(5);
    end(3);  // the very next one
    open.push_back(scene.outbound(scene.server, nullptr, true));
    scene.moved(open.back(), 100, 0);
    CHECK_FALSE(scene.recorder.look_on(100));
    for (const auto& fresh : scene.recorder.end_look().series) scene.totals.add(fresh, scene.now);
    std::string text;
    scene.totals.append(text, Dialect::prometheus);
    CHECK(value_of(text, "istio_tcp_received_bytes_total", {}) == 60 + 2 + 100);
    CHECK(value_of(text, "istio_tcp_connections_closed_total", {}) == 3);
    CHECK(value_of(scene.page(), "istio_tcp_received_bytes_total", {}) == 60 + 3 + 100);
    for (auto& record : open)
        if (record) record->close(CloseReason::ok);
    open.clear();
    for (int again = 0; again < 2; ++again) {
        auto page = scene.page();
        CHECK(value_of(page, "istio_tcp_received_bytes_total", {}) == 60 + 3 + 100);
        CHECK(value_of(page, "istio_tcp_sent_bytes_total", {}) == 6);
        CHECK(value_of(page, "istio_tcp_connections_closed_total", {}) == 7);
    }
}

TEST_CASE("traffic: what moves only after it was looked at, and ends in the same look, is not lost") {
    Scene scene;
    auto first = scene.outbound(scene.server, nullptr, true);
    auto other = scene.outbound(nullptr, nullptr, false);
    scene.recorder.begin_look();
    CHECK(scene.recorder.look_on(1));
    scene.end(std::move(first), 7, 0);
    CHECK_FALSE(scene.recorder.look_on(1));
    for (const auto& fresh : scene.recorder.end_look().series) scene.totals.add(fresh, scene.now);
    CHECK(value_of(scene.page(), "istio_tcp_received_bytes_total", {}) == 7);
}

TEST_CASE("traffic: a failure is closed and failed under its flag, and opened under none") {
    struct Case {
        CloseReason reason;
        std::string error;
        std::string flag;
    };
    const Case cases[] = {
        {CloseReason::denied, "connection closed due to policy rejection: explicitly denied by: ns/p", "DENY"},
        {CloseReason::policy_changed, "connection closed due to policy change", "DENY"},
        {CloseReason::connect_failed, "io error: Connection refused (os error 111)", "CONNECT"},
        {CloseReason::connect_failed,
         "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed",
         "NETWORK_POLICY"},
        {CloseReason::handshake_failed, "tls handshake error: certificate expired", "TLS_FAILURE"},
        {CloseReason::handshake_failed, "tls handshake error: certificate revoked", "CERT_REVOKED"},
        {CloseReason::handshake_failed, "h2 failed: bad preface", "H2_HANDSHAKE_FAILURE"},
        {CloseReason::not_ready, "identity error: no certificate for it yet", "IDENTITY_ERROR"},
        {CloseReason::refused_by_peer, "http status: 401 Unauthorized", "CONNECT"},
        {CloseReason::drained, "connection closed due to connection drain", "CONNECT"},
        {CloseReason::broken, "io error: Connection reset by peer (os error 104)", "CONNECT"},
    };
    for (const auto& [reason, error, flag] : cases) {
        CAPTURE(error);
        Scene scene;
        scene.outbound(scene.server, nullptr, true)->close(reason, error);
        auto page = scene.page();
        const auto label = "response_flags=\"" + flag + "\"";
        CHECK(value_of(page, "istio_tcp_connections_opened_total", {"response_flags=\"-\""}) == 1);
        CHECK(value_of(page, "istio_tcp_connections_opened_total", {label}) == 0);
        CHECK(value_of(page, "istio_tcp_connections_closed_total", {label}) == 1);
        CHECK(value_of(page, "istio_tcp_connections_failed_total", {label}) == 1);
        CHECK(value_of(page, "istio_tcp_connections_closed_total", {}) == 1);
        CHECK(value_of(page, "istio_tcp_sent_bytes_total", {label}) == 0);
    }
}

TEST_CASE("traffic: what was refused before anybody knew whose it was is in no series") {
    Scene scene;
    {
        ConnectionRecord record{scene.recorder, Direction::outbound, {}, {}};
        record.close(CloseReason::no_route);
    }
    CHECK(scene.page() == "");
}

TEST_CASE("traffic: plaintext has no client's identity, and the server's all the same") {
    Scene scene;
    scene.end(scene.inbound(nullptr), 1, 1);
    auto page = scene.page();
    CHECK(value_of(page, "istio_tcp_connections_opened_total",
                   {"reporter=\"destination\"", "source_principal=\"unknown\"", "source_workload=\"client\"",
                    "destination_principal=\"spiffe://cluster.local/ns/bench/sa/server\"",
                    "connection_security_policy=\"unknown\""}) == 1);
}

TEST_CASE("traffic: a mesh that is published anew goes on in the same series") {
    Scene scene;
    scene.end(scene.outbound(scene.server, nullptr, true), 10, 1);
    auto before = scene.page();
    CHECK(scene.totals.size() == 1);
    scene.server = workload("server", "s2");
    scene.end(scene.outbound(scene.server, nullptr, true), 10, 1);
    auto page = scene.page();
    CHECK(scene.totals.size() == 1);
    CHECK(value_of(page, "istio_tcp_received_bytes_total", {}) == 20);
}

TEST_CASE("traffic: a series that nobody uses goes, one with an open connection stays") {
    Scene scene;
    auto open = scene.outbound(scene.server, nullptr, true);
    scene.end(scene.outbound(nullptr, nullptr, false), 10, 1);
    scene.page();
    auto pass = [&scene](Clock::duration time) {
        scene.now += time;
        auto page = scene.page();
        scene.totals.expire(scene.now);
        return scene.totals.size();
    };
    CHECK(pass(TrafficTotals::unused - 1s) == 2);
    CHECK(pass(1s) == 1);
    CHECK(scene.totals.expired() == 1);
    CHECK(pass(TrafficTotals::unused) == 1);
    open->close(CloseReason::ok);
    open.reset();
    CHECK(pass(1s) == 1);
    CHECK(pass(TrafficTotals::unused - 1s) == 1);
    CHECK(pass(1s) == 0);
    CHECK(scene.totals.expired() == 2);
}

TEST_CASE("traffic: beyond the bound there is one series for all others, in the worker and in the totals") {
    Scene scene;
    const auto most = Traffic::most_series;
    for (std::size_t i = 0; i < most + 5; ++i)
        scene.end(scene.outbound(workload("w" + std::to_string(i), "p"), nullptr, true), 1, 1);
    auto page = scene.page();
    CHECK(scene.totals.size() == most + 1);
    CHECK(scene.totals.overflowed() == 5);
    const std::vector<std::string> other{"reporter=\"source\"", "destination_workload=\"overflow\""};
    CHECK(value_of(page, "istio_tcp_connections_opened_total", other) == 5);
    CHECK(value_of(page, "istio_tcp_connections_opened_total", {}) == static_cast<double>(most + 5));
    scene.end(scene.outbound(workload("late", "p"), nullptr, true), 1, 1);
    CHECK(value_of(scene.page(), "istio_tcp_connections_opened_total", other) == 6);
    CHECK(scene.totals.size() == most + 1);
}

TEST_CASE("traffic: a worker keeps what is used, and nothing else") {
    Scene scene;
    auto open = scene.outbound(scene.server, nullptr, true);
    scene.end(scene.outbound(nullptr, nullptr, false), 1, 1);
    CHECK(scene.take().size() == 2);
    CHECK(scene.take().size() == 1);
}

TEST_CASE("traffic: values are quoted, and each dialect has its heads") {
    Scene scene;
    scene.server = workload("a\"b\\c\nd", "p");
    scene.end(scene.outbound(scene.server, nullptr, true), 1, 1);
    auto page = scene.page(Dialect::prometheus);
    CHECK(page.find("destination_workload=\"a\\\"b\\\\c\\nd\",") != std::string::npos);
    CHECK(page.find("# TYPE istio_tcp_sent_bytes_total counter\n") != std::string::npos);
    page.clear();
    scene.totals.append(page, Dialect::open_metrics);
    CHECK(page.find("# TYPE istio_tcp_sent_bytes counter\n") != std::string::npos);
}

}
