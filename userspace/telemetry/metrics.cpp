// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/metrics.hpp>

#include <algorithm>
#include <sstream>

#include <prometheus/text_serializer.h>

#include "process_metrics.hpp"

namespace culvert::telemetry {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric metric(Kind kind, double value, std::string_view label = {}, std::string label_value = {}) {
    ClientMetric made;
    (kind == Kind::counter ? made.counter.value : made.gauge.value) = value;
    if (!label.empty()) made.label.push_back({std::string{label}, std::move(label_value)});
    return made;
}

MetricFamily family(const Family& described, std::vector<ClientMetric> metrics) {
    auto type = described.kind == Kind::counter ? MetricType::Counter : MetricType::Gauge;
    return {std::string{described.name}, std::string{described.help}, type, std::move(metrics)};
}

MetricFamily single(const Family& described, std::uint64_t value) {
    return family(described, {metric(described.kind, static_cast<double>(value))});
}

using Workers = std::vector<const WorkerCounters*>;

// `get` names one counter of a worker.
template <class Get>
std::uint64_t sum(const Workers& workers, Get get) {
    std::uint64_t total = 0;
    for (const auto* worker : workers) total += get(*worker).get();
    return total;
}

// The list in counters.hpp has phrases; a HELP line is a sentence.
std::string sentence(std::string_view phrase) {
    std::string text{phrase};
    if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text + ".";
}

void append_workers(std::vector<MetricFamily>& out, const Workers& workers) {
    auto append = [&](std::string_view field, Kind kind, std::string_view phrase, auto get) {
        std::string name = fmt::format("culvert_proxy_{}{}", field, kind == Kind::counter ? "_total" : "");
        std::string help = sentence(phrase);
        out.push_back(single({name, kind, "", help}, sum(workers, get)));
    };
#define X(field, kind, phrase) \
    append(                    \
        #field, Kind::kind, phrase, [](auto& worker) -> auto& { return worker.field; });
    CULVERT_WORKER_COUNTERS(X)
#undef X
    std::vector<ClientMetric> closed;
    for (std::size_t i = 0; i < close_reason_count; ++i)
        closed.push_back(metric(Kind::counter,
                                static_cast<double>(sum(
                                    workers, [i](auto& w) -> auto& { return w.closed[i]; })),
                                "reason", std::string{to_string(static_cast<CloseReason>(i))}));
    out.push_back(family({"culvert_proxy_connections_closed_total", Kind::counter, "reason",
                          "Connections that ended, by the reason they ended for."},
                         std::move(closed)));
    std::vector<ClientMetric> faults;
    for (std::size_t i = 0; i < peer_fault_count; ++i)
        faults.push_back(metric(Kind::counter,
                                static_cast<double>(sum(
                                    workers, [i](auto& w) -> auto& { return w.faults[i]; })),
                                "fault", std::string{to_string(static_cast<PeerFault>(i))}));
    out.push_back(family({"culvert_proxy_peer_faults_total", Kind::counter, "fault",
                          "Tunnels of peers that were refused or cut, by what was wrong."},
                         std::move(faults)));
}

void append_access_log(std::vector<MetricFamily>& out, const AccessLogStats& stats) {
    out.push_back(
        single({"culvert_access_log_written_total", Kind::counter, "", "Access log lines written."}, stats.written));
    out.push_back(single({"culvert_access_log_dropped_total", Kind::counter, "",
                          "Access log lines dropped because they came faster than they could be written."},
                         stats.dropped));
    out.push_back(single({"culvert_access_log_lost_total", Kind::counter, "",
                          "Access log lines given up because nobody reads the output any more."},
                         stats.lost));
    out.push_back(single({"culvert_access_log_write_errors_total", Kind::counter, "",
                          "Writes of access log lines that failed; a full disk is tried again."},
                         stats.write_errors));
}

// What TextSerializer writes, with the heads of counters as OpenMetrics has them: without _total.
std::string with_family_names(const std::string& text) {
    constexpr std::string_view end = "_total";
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto next = std::min(text.find('\n', at), text.size() - 1) + 1;
        const std::string_view line{text.data() + at, next - at};
        constexpr std::size_t name_at = std::string_view{"# HELP "}.size();
        const auto name_end = line.starts_with("# ") ? line.find(' ', name_at) : std::string_view::npos;
        if (name_end != std::string_view::npos && line.substr(0, name_end).ends_with(end))
            out.append(line.substr(0, name_end - end.size())).append(line.substr(name_end));
        else
            out += line;
        at = next;
    }
    return out;
}

}

Metrics::Metrics(std::string version, std::string commit) {
    add([version = std::move(version), commit = std::move(commit)](std::vector<MetricFamily>& out) {
        ClientMetric build;
        build.gauge.value = 1;
        build.label = {{"version", version}, {"commit", commit}};
        out.push_back({"culvert_build_info", "What was built; the value is always 1.", MetricType::Gauge, {build}});
    });
    add(append_process_metrics);
}

void Metrics::add(const Family& described, std::function<std::vector<Sample>()> source) {
    add([described, source = std::move(source)](std::vector<MetricFamily>& out) {
        std::vector<ClientMetric> metrics;
        for (auto& sample : source())
            metrics.push_back(metric(described.kind, sample.value, described.label, std::move(sample.label)));
        out.push_back(family(described, std::move(metrics)));
    });
}

void Metrics::add(const Family& described, std::function<double()> source) {
    add([described, source = std::move(source)](std::vector<MetricFamily>& out) {
        out.push_back(family(described, {metric(described.kind, source())}));
    });
}

void Metrics::add(std::vector<const WorkerCounters*> workers) {
    add([workers = std::move(workers)](std::vector<MetricFamily>& out) { append_workers(out, workers); });
}

void Metrics::add(const AccessLog& log) {
    add([&log](std::vector<MetricFamily>& out) { append_access_log(out, log.stats()); });
}

void Metrics::add(std::function<void(std::vector<MetricFamily>&)> source) {
    std::lock_guard lock{lock_};
    sources_.push_back(std::move(source));
}

void Metrics::add_page(std::function<void(std::string&, Dialect)> source) {
    std::lock_guard lock{lock_};
    pages_.push_back(std::move(source));
}

std::vector<MetricFamily> Metrics::Collect() const {
    std::lock_guard lock{lock_};
    std::vector<MetricFamily> all;
    for (const auto& source : sources_) source(all);
    std::erase_if(all, [](const MetricFamily& one) { return one.metric.empty(); });
    return all;
}

std::string Metrics::text(Dialect dialect) const {
    std::ostringstream out;
    prometheus::TextSerializer{}.Serialize(out, Collect());
    std::string page = std::move(out).str();
    if (dialect == Dialect::open_metrics) page = with_family_names(page);
    std::lock_guard lock{lock_};
    for (const auto& source : pages_) source(page, dialect);
    return page + "# EOF\n";
}

}
