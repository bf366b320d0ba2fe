// SPDX-License-Identifier: Apache-2.0
#include "istio_metrics.hpp"

#include <boost/asio/post.hpp>

#include <iterator>
#include <utility>

#include <fmt/format.h>

#include <culvert/base/shortage.hpp>

namespace culvert::node {
namespace {

using telemetry::Dialect;
using telemetry::Sample;
namespace families = telemetry::families;

constexpr auto often_enough = std::chrono::minutes{1};
constexpr auto patience = std::chrono::seconds{1};

}

// One question to all workers.
struct IstioMetrics::Look {
    Look(boost::asio::io_context& io, std::size_t all, std::function<void()> callback)
        : missing{all}, until{io}, done{std::move(callback)} {}
    void end() {
        if (auto call = std::exchange(done, nullptr)) call();
    }
    std::size_t missing;
    std::uint64_t outbound = 0;
    std::uint64_t inbound_plain = 0;
    boost::asio::steady_timer until;
    std::function<void()> done;
};

IstioMetrics::IstioMetrics(boost::asio::io_context& io, const Workers& workers, const std::unique_ptr<Pods>& pods,
                           const Mesh& mesh, std::string network, std::string version)
    : io_{io},
      workers_{workers},
      pods_{pods},
      mesh_{mesh},
      network_{std::move(network)},
      version_{version.empty() ? "unknown" : std::move(version)},
      now_and_then_{io} {
    look_now_and_then();
}

void IstioMetrics::look_now_and_then() {
    now_and_then_.expires_after(often_enough);
    now_and_then_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        refresh([] {});
        look_now_and_then();
    });
}

void IstioMetrics::refresh(std::function<void()> done) {
    add({by_kernel_.take(), 0, 0});
    auto look = std::make_shared<Look>(io_, workers_.size(), std::move(done));
    if (workers_.empty()) return look->end();
    look->until.expires_after(patience);
    look->until.async_wait([look](boost::system::error_code) { look->end(); });
    for (const auto& worker : workers_)
        worker->take_traffic([this, &io = io_, look](telemetry::TrafficReport report) {
            boost::asio::post(io, [this, look, report = std::move(report)] {
                add(report);
                look->outbound += report.outbound;
                look->inbound_plain += report.inbound_plain;
                if (--look->missing > 0) return;
                outbound_ = look->outbound;
                inbound_plain_ = look->inbound_plain;
                look->until.cancel();
            });
        });
}

void IstioMetrics::add(const telemetry::TrafficReport& report) {
    const auto now = telemetry::TrafficTotals::Clock::now();
    for (const auto& fresh : report.series)
        base::shortage::guard("a series of the metrics", [&] { totals_.add(fresh, now); });
    totals_.expire(now);
}

void IstioMetrics::refused(const capture::Refused& connection) {
    telemetry::OpenEntry entry;
    entry.direction = telemetry::Direction::inbound;
    entry.source_workload = mesh_.snapshot()->workload_by_ip(network_, connection.source.ip);
    if (const auto* known = mesh_.snapshot()->known(connection.uid)) {
        entry.destination_workload = known->workload;
        entry.service = known->service_at(connection.destination.port);
    }
    if (auto* series = by_kernel_.opened(entry))
        by_kernel_.closed(*series, entry, telemetry::ResponseFlag::deny, false);
}

void IstioMetrics::missed(std::uint64_t connections) {
    telemetry::TrafficSeries fresh{.between = {.reporter = telemetry::Direction::inbound, .overflow = true},
                                   .opened = connections};
    fresh.closed[static_cast<std::size_t>(telemetry::ResponseFlag::deny)] = connections;
    add({{fresh}, 0, 0});
}

void IstioMetrics::append_sockets(std::string& page, Dialect dialect) const {
    std::uint64_t inbound = inbound_plain_;
    for (const auto& worker : workers_) inbound += worker->counters().tunnels_in_open.get();
    constexpr std::string_view name = "istio_tcp_sockets_open";
    append_family(page, dialect, name, false, "The current number of open TCP sockets (unstable).");
    fmt::format_to(std::back_inserter(page), "{0}{{reporter=\"destination\"}} {1}\n{0}{{reporter=\"source\"}} {2}\n",
                   name, inbound, outbound_);
}

void IstioMetrics::expose(telemetry::Metrics& metrics) {
    metrics.add([this](std::vector<prometheus::MetricFamily>& into) {
        prometheus::ClientMetric build;
        build.gauge.value = 1;
        build.label = {{"component", "ztunnel"}, {"tag", version_}};  // dashboards ask for that component
        into.push_back({"istio_build", "Istio component build info.", prometheus::MetricType::Gauge, {build}});
    });
    metrics.add(families::proxies_active, [this] { return static_cast<double>(pods_->size()); });
    metrics.add(families::proxies_pending, [this] { return static_cast<double>(pods_->waiting()); });
    metrics.add(families::proxies_started, [this] { return static_cast<double>(pods_->started()); });
    metrics.add(families::proxies_stopped, [this] { return static_cast<double>(pods_->stopped()); });
    metrics.add(families::traffic_series, [this] { return static_cast<double>(totals_.size()); });
    metrics.add(families::traffic_expired, [this] { return static_cast<double>(totals_.expired()); });
    metrics.add(families::traffic_overflowed, [this] { return static_cast<double>(totals_.overflowed()); });
    metrics.add_page([this](std::string& page, Dialect dialect) {
        append_sockets(page, dialect);
        totals_.append(page, dialect);
    });
}

}
