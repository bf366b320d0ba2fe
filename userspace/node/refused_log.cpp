// SPDX-License-Identifier: Apache-2.0
#include "refused_log.hpp"

#include <chrono>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/telemetry/close_reason.hpp>

namespace culvert::node {
namespace {

constexpr auto interval = std::chrono::seconds{10};

std::int64_t unix_ns(std::chrono::system_clock::time_point at) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

}

RefusedLog::RefusedLog(boost::asio::io_context& io, telemetry::AccessLog& log, unsigned ring, std::string network)
    : log_{log}, ring_{ring}, network_{std::move(network)}, interval_{io} {}

void RefusedLog::publish(state::SnapshotPtr mesh, policy::SetPtr policies) {
    mesh_ = std::move(mesh);
    policies_ = std::move(policies);
}

void RefusedLog::refused(const capture::Refused& connection) {
    begin_interval();
    const auto* compiled = policies_->of(connection.uid);
    const policy::Connection asked{connection.source.ip, connection.destination, nullptr};
    const auto decision = compiled ? policy::decide(*compiled, asked) : policy::Decision{};
    if (decision.by) decision.by->hits->add(ring_);
    if (said_ == lines) {
        ++unsaid_;
        last_ = connection.source;
        return;
    }
    ++said_;
    telemetry::AccessEntry entry;
    entry.direction = telemetry::Direction::inbound;
    entry.source = connection.source;
    entry.destination = connection.destination;
    entry.source_workload = mesh_->workload_by_ip(network_, connection.source.ip);
    if (const auto* known = mesh_->known(connection.uid)) {
        entry.destination_workload = known->workload;
        entry.service = known->service_at(connection.destination.port);
    }
    entry.ended_ns = unix_ns(connection.at);
    // The policies may have changed since: then nobody can say any more which of them it was.
    entry.error = decision.allowed() ? std::string{description(telemetry::CloseReason::denied)} : decision.refusal();
    log_.submit(ring_, std::move(entry));
}

void RefusedLog::missed(std::uint64_t connections) {
    begin_interval();
    unsaid_ += connections;
}

void RefusedLog::begin_interval() {
    if (std::exchange(counting_, true)) return;
    interval_.expires_after(interval);
    interval_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) sum_up();
    });
}

void RefusedLog::sum_up() {
    counting_ = false;
    said_ = 0;
    if (const auto unsaid = std::exchange(unsaid_, 0); unsaid > 0)
        base::log::warn("policy", "{} more plain connections were refused by the kernel within 10 s, one from {}",
                        unsaid, last_.to_string());
}

}
