// SPDX-License-Identifier: Apache-2.0
// Names, labels, their order and their values mirror ztunnel's; a test compares with a page of the real one.
#include <culvert/telemetry/traffic.hpp>

#include <iterator>

#include <fmt/format.h>

namespace culvert::telemetry {
namespace {

// One label set in the making.
class Labels {
public:
    explicit Labels(bool overflow) : nothing_{overflow ? "overflow" : "unknown"} {}

    void put(std::string_view name, std::string_view value) {
        if (!text.empty()) text += ',';
        text += name;
        text += "=\"";
        for (char c : value.empty() ? nothing_ : value) {
            if (c == '\n') {
                text += "\\n";
                continue;
            }
            if (c == '"' || c == '\\') text += '\\';
            text += c;
        }
        text += '"';
    }
    std::string text;

private:
    std::string_view nothing_;
};

struct SideNames {
    std::string_view workload, service, revision, namespace_, principal, app, version, cluster;
};
constexpr SideNames source_names{"source_workload",
                                 "source_canonical_service",
                                 "source_canonical_revision",
                                 "source_workload_namespace",
                                 "source_principal",
                                 "source_app",
                                 "source_version",
                                 "source_cluster"};
constexpr SideNames destination_names{"destination_workload",
                                      "destination_canonical_service",
                                      "destination_canonical_revision",
                                      "destination_workload_namespace",
                                      "destination_principal",
                                      "destination_app",
                                      "destination_version",
                                      "destination_cluster"};

void put_side(Labels& labels, const SideNames& names, const state::Workload& side, const std::string& principal) {
    labels.put(names.workload, side.workload_name);
    labels.put(names.service, side.canonical_name);
    labels.put(names.revision, side.canonical_revision);
    labels.put(names.namespace_, side.namespace_);
    labels.put(names.principal, principal);
    labels.put(names.app, side.canonical_name);
    labels.put(names.version, side.canonical_revision);
    labels.put(names.cluster, side.cluster_id);
}

// A client's name is only what it proved; a server's is what the control plane says, in plaintext too.
std::string source_principal(const Between& between) {
    if (!between.mutual_tls) return {};
    if (between.reporter == Direction::inbound) return between.peer ? between.peer->to_string() : "";
    return between.source ? between.source->identity().to_string() : "";
}

// The flag's place is left out: it is where `flag_at` says.
std::string labels_of(const Between& between, std::size_t& flag_at) {
    static const state::Workload nobody;
    static const state::Service nothing;
    Labels labels{between.overflow};
    labels.text.reserve(1024);
    labels.put("reporter", between.reporter == Direction::outbound ? "source" : "destination");
    const auto& source = between.source ? *between.source : nobody;
    const auto& destination = between.destination ? *between.destination : nobody;
    const auto& service = between.service ? *between.service : nothing;
    put_side(labels, source_names, source, source_principal(between));
    labels.put("destination_service", service.hostname);
    labels.put("destination_service_namespace", service.namespace_);
    labels.put("destination_service_name", service.name);
    put_side(labels, destination_names, destination,
             between.destination ? destination.identity().to_string() : std::string{});
    labels.put("request_protocol", "tcp");
    flag_at = labels.text.size();
    labels.put("connection_security_policy", between.mutual_tls ? "mutual_tls" : "unknown");
    if (!between.source && !between.destination) return std::move(labels.text);
    labels.put("source_region", source.locality.region);
    labels.put("source_zone", source.locality.zone);
    labels.put("destination_region", destination.locality.region);
    labels.put("destination_zone", destination.locality.zone);
    return std::move(labels.text);
}

struct TrafficFamily {
    std::string_view name, help;
};
constexpr TrafficFamily opened{"istio_tcp_connections_opened", "The total number of TCP connections opened."};
constexpr TrafficFamily closed{"istio_tcp_connections_closed", "The total number of TCP connections closed."};
constexpr TrafficFamily received{"istio_tcp_received_bytes",
                                 "The size of total bytes received during request in case of a TCP connection."};
constexpr TrafficFamily sent{"istio_tcp_sent_bytes",
                             "The size of total bytes sent during response in case of a TCP connection."};
constexpr TrafficFamily failed{"istio_tcp_connections_failed",
                               "The total number of TCP connections that failed (unstable)."};

void append_sample(std::string& page, std::string_view name, const std::string& labels, std::size_t flag_at,
                   ResponseFlag flag, std::uint64_t value) {
    const std::string_view all{labels};
    fmt::format_to(std::back_inserter(page), "{}_total{{{},response_flags=\"{}\"{}}} {}\n", name,
                   all.substr(0, flag_at), to_string(flag), all.substr(flag_at), value);
}

}

void append_family(std::string& page, Dialect dialect, std::string_view name, bool counter, std::string_view help) {
    const std::string_view end = counter && dialect == Dialect::prometheus ? "_total" : "";
    fmt::format_to(std::back_inserter(page), "# HELP {0}{1} {2}\n# TYPE {0}{1} {3}\n", name, end, help,
                   counter ? "counter" : "gauge");
}

void TrafficTotals::add(const TrafficSeries& fresh, Clock::time_point now) {
    std::size_t flag_at = 0;
    std::string labels = labels_of(fresh.between, flag_at);
    bool overflows = fresh.between.overflow;
    if (totals_.size() >= most_series && !totals_.contains(labels)) {
        overflows = true;
        labels = labels_of({.reporter = fresh.between.reporter, .overflow = true}, flag_at);
    }
    if (overflows) overflowed_ += fresh.opened;
    Total& total = totals_[std::move(labels)];
    total.flag_at = flag_at;
    bool news = fresh.opened != 0 || fresh.bytes.received != 0 || fresh.bytes.sent != 0 || fresh.open != 0;
    total.opened += fresh.opened;
    total.bytes.received += fresh.bytes.received;
    total.bytes.sent += fresh.bytes.sent;
    for (std::size_t i = 0; i < response_flag_count; ++i) {
        total.closed[i] += fresh.closed[i];
        news = news || fresh.closed[i] != 0;
    }
    if (news) total.used = now;
}

void TrafficTotals::expire(Clock::time_point now) {
    expired_ += std::erase_if(totals_, [now](const auto& one) { return now - one.second.used >= unused; });
}

void TrafficTotals::append(std::string& page, Dialect dialect) const {
    if (totals_.empty()) return;
    auto head = [&](const TrafficFamily& family) { append_family(page, dialect, family.name, true, family.help); };
    auto each = [&](const TrafficFamily& family, auto value_of) {
        head(family);
        for (const auto& [labels, total] : totals_)
            append_sample(page, family.name, labels, total.flag_at, ResponseFlag::none, value_of(total));
    };
    auto each_end = [&](const TrafficFamily& family, ResponseFlag from) {
        bool begun = false;
        for (const auto& [labels, total] : totals_)
            for (auto i = static_cast<std::size_t>(from); i < response_flag_count; ++i) {
                if (total.closed[i] == 0) continue;
                if (!std::exchange(begun, true)) head(family);
                append_sample(page, family.name, labels, total.flag_at, static_cast<ResponseFlag>(i), total.closed[i]);
            }
    };
    each(opened, [](const Total& total) { return total.opened; });
    each_end(closed, ResponseFlag::none);
    each(received, [](const Total& total) { return total.bytes.received; });
    each(sent, [](const Total& total) { return total.bytes.sent; });
    each_end(failed, ResponseFlag::deny);
}

}
