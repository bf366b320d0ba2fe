// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/metrics.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <ctime>
#include <regex>
#include <set>
#include <sstream>

#include <culvert/base/fd.hpp>

#include "folder.hpp"

using namespace culvert;
using namespace culvert::telemetry;

namespace {

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

double value_of(const std::string& text, const std::string& name) {
    auto at = ("\n" + text).find("\n" + name + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + name.size() + 1));
}

}

TEST_SUITE("telemetry") {

TEST_CASE("metrics: workers are summed, counters end in _total and gauges do not") {
    WorkerCounters a, b;
    a.connections_outbound.add(3);
    b.connections_outbound.add(4);
    a.connections_open.add(2);
    b.connections_open.add(1);
    b.connections_open.sub(1);
    b.closed[static_cast<std::size_t>(CloseReason::no_route)].add(5);
    Metrics metrics{"0.1.0", "abc"};
    metrics.add({&a, &b});
    auto text = metrics.text();
    CHECK(has_line(text, "# HELP culvert_proxy_connections_outbound_total Captured connections accepted from apps."));
    CHECK(has_line(text, "# TYPE culvert_proxy_connections_outbound_total counter"));
    CHECK(has_line(text, "culvert_proxy_connections_outbound_total 7"));
    CHECK(has_line(text, "# TYPE culvert_proxy_connections_open gauge"));
    CHECK(has_line(text, "culvert_proxy_connections_open 2"));
    CHECK(has_line(text, "culvert_proxy_connections_closed_total{reason=\"no_route\"} 5"));
    CHECK(has_line(text, "culvert_proxy_connections_closed_total{reason=\"ok\"} 0"));
}

TEST_CASE("metrics: build information, and an end that says the text is whole") {
    auto text = Metrics{"0.1.0", "abc"}.text();
    CHECK(has_line(text, "culvert_build_info{version=\"0.1.0\",commit=\"abc\"} 1"));
    CHECK(text.ends_with("\n# EOF\n"));
}

TEST_CASE("metrics: a family of samples by label, a single number, and nothing for a family without samples") {
    Metrics metrics{"", ""};
    std::vector<Sample> decisions;
    metrics.add(families::capture_decisions, [&] { return decisions; });
    metrics.add(families::capture_pods, [] { return 2; });
    CHECK(metrics.text().find("culvert_capture_decisions_total") == std::string::npos);
    decisions = {{"CAPTURED", 812}, {"say \"hi\"\n", 1}};
    auto text = metrics.text();
    CHECK(has_line(text, "# HELP culvert_capture_decisions_total What the kernel programs decided, by reason."));
    CHECK(has_line(text, "culvert_capture_decisions_total{reason=\"CAPTURED\"} 812"));
    CHECK(has_line(text, "culvert_capture_decisions_total{reason=\"say \\\"hi\\\"\\n\"} 1"));
    CHECK(has_line(text, "culvert_capture_pods 2"));
}

TEST_CASE("metrics: large values keep every digit") {
    Metrics metrics{"", ""};
    metrics.add(families::certificate_expiry, [] {
        return std::vector<Sample>{{"spiffe://td/ns/a/sa/b", 1795699099}};
    });
    metrics.add(families::certificate_renewals, [] { return 123456789012345.0; });
    auto text = metrics.text();
    CHECK(
        has_line(text, "culvert_certificate_expiry_timestamp_seconds{identity=\"spiffe://td/ns/a/sa/b\"} 1795699099"));
    CHECK(has_line(text, "culvert_certificate_renewals_total 123456789012345"));
}

TEST_CASE("metrics: what the access log wrote and could not write") {
    Folder folder;
    auto log = AccessLog::open(folder / "access.log", base::log::Format::text, 1);
    REQUIRE(log.has_value());
    Metrics metrics{"", ""};
    metrics.add(**log);
    (*log)->submit(0, AccessEntry{});
    REQUIRE(eventually([&] { return (*log)->stats().written == 1; }));
    auto text = metrics.text();
    CHECK(has_line(text, "culvert_access_log_written_total 1"));
    CHECK(has_line(text, "culvert_access_log_dropped_total 0"));
    CHECK(has_line(text, "culvert_access_log_lost_total 0"));
    CHECK(has_line(text, "culvert_access_log_write_errors_total 0"));
}

TEST_CASE("metrics: the process's own figures are true") {
    Metrics metrics{"", ""};
    auto before = value_of(metrics.text(), "process_open_fds");
    base::Fd one_more{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    auto text = metrics.text();
    CHECK(value_of(text, "process_open_fds") == before + 1);
    int open = 0;
    for (int fd = 0; fd < 1024; ++fd) open += ::fcntl(fd, F_GETFD) >= 0;
    CHECK(value_of(text, "process_open_fds") == open);
    CHECK(value_of(text, "process_max_fds") >= before);
    CHECK(value_of(text, "process_resident_memory_bytes") > 1e6);
    CHECK(value_of(text, "process_cpu_seconds_total") > 0);
    auto age = static_cast<double>(std::time(nullptr)) - value_of(text, "process_start_time_seconds");
    CHECK(age >= -1);
    CHECK(age < 600);
}

TEST_CASE("metrics: every line is Prometheus text, every family has a sentence and appears once") {
    Folder folder;
    auto log = AccessLog::open(folder / "access.log", base::log::Format::text, 1);
    REQUIRE(log.has_value());
    WorkerCounters worker;
    Metrics metrics{"0.1.0", "abc"};
    metrics.add({&worker});
    metrics.add(**log);
#define X(identifier, name, kind, label, text) \
    metrics.add(families::identifier, [] { return std::vector<Sample>{{"x", 1}}; });
    CULVERT_METRIC_FAMILIES(X)
    CULVERT_ISTIO_FAMILIES(X)
#undef X
    std::regex help{"# HELP ([a-z_]+) [A-Z].*\\."}, type{"# TYPE ([a-z_]+) (counter|gauge)"};
    std::regex sample{"([a-z_]+)(\\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\\})? [-+.e0-9]+"};
    std::istringstream lines{metrics.text()};
    std::set<std::string> seen;
    std::string current, kind;
    std::smatch found;
    for (std::string line; std::getline(lines, line) && line != "# EOF";) {
        CAPTURE(line);
        if (std::regex_match(line, found, help)) {
            current = found[1];
            CHECK(seen.insert(current).second);
        } else if (std::regex_match(line, found, type)) {
            CHECK(found[1] == current);
            CHECK((found[2] == "counter") == current.ends_with("_total"));
        } else {
            REQUIRE(std::regex_match(line, found, sample));
            CHECK(found[1] == current);
        }
    }
    CHECK(seen.size() > 30);
}

}
