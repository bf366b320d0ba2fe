// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/access_log.hpp>

#include <doctest/doctest.h>

#include <ctime>
#include <map>

#include "folder.hpp"

using namespace culvert;
using namespace culvert::telemetry;
using base::log::Format;

namespace {

using Fields = std::map<std::string, std::string>;

std::string take_value(std::string_view& rest, std::string_view ends) {
    std::string value;
    if (rest.front() == '"') {
        auto close = rest.find('"', 1);
        value = rest.substr(1, close - 1);
        rest.remove_prefix(close + 1);
    } else {
        auto end = std::min(rest.find_first_of(ends), rest.size());
        value = rest.substr(0, end);
        rest.remove_prefix(end);
    }
    return value;
}

// The recorded values contain no escapes, so a quote ends a string.
Fields read_text(std::string_view line) {
    Fields fields;
    for (const char* head : {"time", "level", "scope", "message"}) {
        fields[head] = line.substr(0, line.find('\t'));
        line.remove_prefix(line.find('\t') + 1);
    }
    while (!line.empty()) {
        auto equals = line.find('=');
        std::string key{line.substr(0, equals)};
        line.remove_prefix(equals + 1);
        fields[key] = take_value(line, " ");
        if (!line.empty()) line.remove_prefix(1);
    }
    return fields;
}

Fields read_json(std::string_view line) {
    Fields fields;
    while (line.front() != '}') {
        line.remove_prefix(1);  // { or ,
        auto key = take_value(line, ":");
        line.remove_prefix(1);
        fields[key] = take_value(line, ",}");
    }
    return fields;
}

std::int64_t unix_ns(const std::string& time) {
    std::tm utc{};
    const char* rest = ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S.", &utc);
    REQUIRE(rest != nullptr);
    return ::timegm(&utc) * 1'000'000'000ll + std::stoll(rest) * 1000;
}

state::WorkloadPtr workload(Fields& fields, const std::string& side) {
    if (!fields.contains(side + ".workload")) return nullptr;
    state::Workload w;
    w.name = fields[side + ".workload"];
    w.canonical_name = "not shown when there is a name";
    w.namespace_ = fields[side + ".namespace"];
    w.cluster_id = fields[side + ".cluster"];
    if (auto identity = state::Identity::parse(fields[side + ".identity"])) {
        w.trust_domain = identity->trust_domain;
        w.service_account = identity->service_account;
    }
    return std::make_shared<const state::Workload>(w);
}

state::ServicePtr service(const std::string& hostname) {
    state::Service s;
    s.hostname = hostname;
    return std::make_shared<const state::Service>(s);
}

AccessEntry entry_of(Fields fields) {
    AccessEntry entry;
    entry.ended_ns = unix_ns(fields["time"]);
    entry.direction = fields["direction"] == "inbound" ? Direction::inbound : Direction::outbound;
    entry.early = fields["message"] == "connection failed";
    entry.source = base::SocketAddress::parse(fields["src.addr"]).value();
    entry.source_workload = workload(fields, "src");
    if (auto peer = state::Identity::parse(fields["src.identity"]))
        entry.peer_identity = std::make_shared<const state::Identity>(*peer);
    entry.destination = base::SocketAddress::parse(fields["dst.addr"]).value();
    if (fields.contains("dst.hbone_addr")) entry.set_hbone_target(fields["dst.hbone_addr"]);
    if (fields.contains("dst.service")) entry.service = service(fields["dst.service"]);
    entry.destination_workload = workload(fields, "dst");
    entry.mutual_tls = !fields["dst.identity"].empty();
    entry.error = fields["error"];
    if (!entry.early) {
        entry.bytes_sent = std::stoull(fields["bytes_sent"]);
        entry.bytes_received = std::stoull(fields["bytes_recv"]);
        entry.duration = std::chrono::milliseconds{std::stoll(fields["duration"])};
    }
    return entry;
}

std::string formatted(const AccessEntry& entry, Format format) {
    fmt::memory_buffer out;
    format_entry(out, entry, format);
    return {out.data(), out.size()};
}

}

TEST_SUITE("telemetry") {

TEST_CASE("access entry: every line recorded from ztunnel is rebuilt byte for byte, text and JSON") {
    int compared = 0, json = 0, early = 0;
    for (const auto& line : lines_of(RECORDED_ACCESS_LOG)) {
        if (line.starts_with('#')) continue;
        CAPTURE(line);
        bool is_json = line.front() == '{';
        auto entry = entry_of(is_json ? read_json(line) : read_text(line));
        CHECK(formatted(entry, is_json ? Format::json : Format::text) == line + "\n");
        ++compared;
        json += is_json;
        early += entry.early;
    }
    CHECK(compared == 35);
    CHECK(json == 13);
    CHECK(early == 1);
}

TEST_CASE("access entry: a workload without a pod name goes by its canonical service, and unknown parts are absent") {
    AccessEntry entry;
    state::Workload w;
    w.canonical_name = "shop";
    entry.source_workload = std::make_shared<const state::Workload>(w);
    entry.source = base::SocketAddress::parse("[fd00::7]:4000").value();
    entry.destination = base::SocketAddress::parse("10.0.0.1:80").value();
    CHECK(formatted(entry, Format::text) ==
          "1970-01-01T00:00:00.000000Z\tinfo\taccess\tconnection complete\tsrc.addr=[fd00::7]:4000 "
          "src.workload=\"shop\" dst.addr=10.0.0.1:80 direction=\"outbound\" bytes_sent=0 bytes_recv=0 "
          "duration=\"0ms\"\n");
}

TEST_CASE("access entry: an early refusal in text shows addresses, direction and error, whatever else is filled in") {
    AccessEntry entry;
    entry.early = true;
    entry.source = base::SocketAddress::parse("10.71.1.10:20943").value();
    entry.source_workload = std::make_shared<const state::Workload>();
    entry.destination = base::SocketAddress::parse("10.71.255.2:9999").value();
    entry.service = service("web.b.svc.cluster.local");
    entry.bytes_sent = 3;
    entry.error = "no healthy upstream: 10.71.255.2:9999";
    CHECK(formatted(entry, Format::text) ==
          "1970-01-01T00:00:00.000000Z\twarn\taccess\tconnection failed\tsrc.addr=10.71.1.10:20943 "
          "dst.addr=10.71.255.2:9999 direction=\"outbound\" error=\"no healthy upstream: 10.71.255.2:9999\"\n");
}

TEST_CASE("access entry: what a peer can choose cannot break the line") {
    AccessEntry entry;
    entry.error = "said \"no\"\nand\tleft \x01";
    for (auto format : {Format::text, Format::json}) {
        auto line = formatted(entry, format);
        CHECK(line.find('\n') == line.size() - 1);
        CHECK(line.find(R"("said \"no\"\nand\tleft \u0001")") != std::string::npos);
    }
}

}
