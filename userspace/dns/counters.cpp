// SPDX-License-Identifier: Apache-2.0
#include "counters.hpp"

#include <algorithm>
#include <limits>

namespace culvert::dns {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

double value_of(const telemetry::Counter& counter) {
    return static_cast<double>(counter.get());
}

ClientMetric::Histogram histogram_of(const Row& row) {
    ClientMetric::Histogram histogram;
    for (std::size_t i = 0; i < row.took.size(); ++i) {
        histogram.sample_count += row.took[i].get();
        double bound = i < upstream_seconds.size() ? upstream_seconds[i] : std::numeric_limits<double>::infinity();
        histogram.bucket.push_back({histogram.sample_count, bound});
    }
    histogram.sample_sum = value_of(row.microseconds) / 1e6;
    return histogram;
}

MetricFamily single(const char* name, const char* help, const telemetry::Counter& counter) {
    ClientMetric metric;
    metric.counter.value = value_of(counter);
    return {name, help, MetricType::Counter, {std::move(metric)}};
}

}

void Row::answered_after(std::chrono::steady_clock::duration time) noexcept {
    double seconds = std::chrono::duration<double>(time).count();
    auto bound = std::ranges::lower_bound(upstream_seconds, seconds);
    took[static_cast<std::size_t>(bound - upstream_seconds.begin())].add();
    microseconds.add(static_cast<std::uint64_t>(seconds * 1e6));
}

Row& Counters::row(std::uint16_t type, Transport transport, const state::Workload* source) {
    Key key{type_name(type), transport, source ? source->canonical_name : "unknown",
            source ? source->canonical_revision : "unknown"};
    if (auto found = rows_.find(key); found != rows_.end()) return found->second;
    std::lock_guard lock{growing_};
    return rows_[std::move(key)];
}

void Counters::collect(std::vector<MetricFamily>& into) const {
    MetricFamily requests{"istio_dns_requests_total", "DNS requests of pods.", MetricType::Counter, {}};
    MetricFamily upstream{
        "istio_dns_upstream_requests_total", "DNS requests that went to a nameserver.", MetricType::Counter, {}};
    MetricFamily failures{
        "istio_dns_upstream_failures_total", "DNS requests that no nameserver answered.", MetricType::Counter, {}};
    MetricFamily took{"istio_dns_upstream_request_duration_seconds",
                      "How long nameservers took to answer.",
                      MetricType::Histogram,
                      {}};
    {
        std::lock_guard lock{growing_};
        for (const auto& [key, row] : rows_) {
            const auto& [type, transport, service, revision] = key;
            ClientMetric metric;
            metric.label = {{"request_query_type", type},
                            {"request_protocol", transport == Transport::udp ? "udp" : "tcp"},
                            {"source_canonical_service", service},
                            {"source_canonical_revision", revision}};
            auto add = [&](MetricFamily& family, const telemetry::Counter& counter) {
                metric.counter.value = value_of(counter);
                family.metric.push_back(metric);
            };
            add(requests, row.requests);
            if (row.upstream.get() == 0) continue;
            add(upstream, row.upstream);
            add(failures, row.failures);
            metric.histogram = histogram_of(row);
            took.metric.push_back(std::move(metric));
        }
    }
    for (MetricFamily* family : {&requests, &upstream, &failures, &took})
        if (!family->metric.empty()) into.push_back(std::move(*family));
    into.push_back(
        single("culvert_dns_no_requests_total", "Messages to the DNS server that were no requests.", no_requests));
    into.push_back(single("culvert_dns_over_limit_total",
                          "DNS requests and connections that were refused, for their pod had too many.", refused));
}

}
