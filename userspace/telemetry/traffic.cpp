// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/traffic.hpp>

#include <culvert/base/shortage.hpp>

namespace culvert::telemetry {
namespace {

TrafficBytes bytes_of(const OpenEntry& entry) noexcept {
    if (entry.direction == Direction::outbound) return {entry.bytes_sent, entry.bytes_received};
    return {entry.bytes_received, entry.bytes_sent};
}

void add(TrafficBytes& sum, const TrafficBytes& more) noexcept {
    sum.received += more.received;
    sum.sent += more.sent;
}

std::size_t hash_of(const OpenEntry& entry) noexcept {
    auto mixed = [](std::size_t so_far, std::size_t next) { return (so_far ^ next) * 0x9e3779b97f4a7c15u; };
    std::size_t hash = entry.direction == Direction::outbound ? 1 : 2;
    for (const void* known :
         {static_cast<const void*>(entry.source_workload.get()),
          static_cast<const void*>(entry.destination_workload.get()), static_cast<const void*>(entry.service.get())})
        hash = mixed(hash, reinterpret_cast<std::size_t>(known));
    if (!entry.peer_identity) return hash;
    // Each tunnel has an identity of its own to point to.
    hash = mixed(hash, std::hash<std::string>{}(entry.peer_identity->service_account));
    return mixed(hash, std::hash<std::string>{}(entry.peer_identity->namespace_));
}

bool same(const std::shared_ptr<const state::Identity>& a, const std::shared_ptr<const state::Identity>& b) {
    return a == b || (a && b && *a == *b);
}

bool is_of(const Between& between, const OpenEntry& entry) {
    return between.reporter == entry.direction && between.mutual_tls == entry.mutual_tls &&
           between.source == entry.source_workload && between.destination == entry.destination_workload &&
           between.service == entry.service && same(between.peer, entry.peer_identity);
}

}

struct Traffic::Series {
    Between between;
    std::uint64_t opened = 0;
    std::array<std::uint64_t, response_flag_count> closed{};
    std::uint64_t open = 0;
    TrafficBytes ended;  // of connections that ended since it was told last
    TrafficBytes seen;   // of those that are open, in this look
    TrafficBytes told;   // of those that were open, in the last one
    TrafficBytes later;  // of those that were open in this look, and ended before it did
};

Traffic::Traffic() = default;
Traffic::~Traffic() = default;

Traffic::Series& Traffic::series_of(const OpenEntry& entry) {
    const auto hash = hash_of(entry);
    const auto [first, last] = table_.equal_range(hash);
    for (auto at = first; at != last; ++at)
        if (is_of(at->second->between, entry)) return *at->second;
    if (table_.size() >= most_series) {
        auto& other = overflow_[entry.direction == Direction::outbound ? 0 : 1];
        if (!other) other.reset(new Series{.between = {.reporter = entry.direction, .overflow = true}});
        return *other;
    }
    std::unique_ptr<Series> fresh{new Series{.between = {.reporter = entry.direction,
                                                         .mutual_tls = entry.mutual_tls,
                                                         .source = entry.source_workload,
                                                         .destination = entry.destination_workload,
                                                         .service = entry.service,
                                                         .peer = entry.peer_identity}}};
    return *table_.emplace(hash, std::move(fresh))->second;
}

Traffic::Series* Traffic::opened(const OpenEntry& entry) noexcept {
    Series* series = nullptr;
    base::shortage::guard("a connection's place among the metrics", [&] { series = &series_of(entry); });
    if (!series) return nullptr;
    ++series->opened;
    ++series->open;
    return series;
}

void Traffic::closed(Series& series, const OpenEntry& entry, ResponseFlag flag, bool looked_at) noexcept {
    ++series.closed[static_cast<std::size_t>(flag)];
    --series.open;
    add(looked_at ? series.later : series.ended, bytes_of(entry));
}

void Traffic::look_at(Series& series, const OpenEntry& entry) noexcept {
    add(series.seen, bytes_of(entry));
}

// A series that nothing happened in, and that nobody is in, goes: its figures are the reader's by now.
std::vector<TrafficSeries> Traffic::take() {
    std::vector<TrafficSeries> all;
    all.reserve(table_.size() + overflow_.size());
    auto tell = [&all](Series& series) {
        all.push_back({.between = series.between,
                       .opened = std::exchange(series.opened, 0),
                       .closed = std::exchange(series.closed, {}),
                       .bytes = {series.ended.received + series.seen.received - series.told.received,
                                 series.ended.sent + series.seen.sent - series.told.sent},
                       .open = series.open});
        series.ended = std::exchange(series.later, {});
        series.told = std::exchange(series.seen, {});
    };
    auto idle = [](const Series& series) {
        for (const auto& bytes : {series.ended, series.told, series.later})
            if (bytes.received != 0 || bytes.sent != 0) return false;
        for (auto count : series.closed)
            if (count != 0) return false;
        return series.open == 0 && series.opened == 0;
    };
    for (auto at = table_.begin(); at != table_.end();) {
        if (idle(*at->second)) {
            at = table_.erase(at);
        } else {
            tell(*at->second);
            ++at;
        }
    }
    for (auto& other : overflow_)
        if (other) tell(*other);
    return all;
}

std::string_view to_string(ResponseFlag flag) noexcept {
    static constexpr std::string_view labels[] = {
#define X(name, label) label,
        CULVERT_RESPONSE_FLAGS(X)
#undef X
    };
    return labels[static_cast<std::size_t>(flag)];
}

ResponseFlag response_flag(CloseReason reason, std::string_view error) noexcept {
    auto says = [error](std::string_view words) { return error.find(words) != std::string_view::npos; };
    switch (reason) {
        case CloseReason::ok: return ResponseFlag::none;
        case CloseReason::denied:
        case CloseReason::policy_changed: return ResponseFlag::deny;
        case CloseReason::not_ready:
            return error.starts_with("identity error") ? ResponseFlag::identity_error : ResponseFlag::connect;
        default: break;
    }
    if (says("revoked")) return ResponseFlag::cert_revoked;
    if (says("NetworkPolicy")) return ResponseFlag::network_policy;
    if (error.starts_with("tls ") || error.starts_with("identity verification error")) return ResponseFlag::tls_failure;
    if (error.starts_with("h2 failed")) return ResponseFlag::h2_handshake_failure;
    return ResponseFlag::connect;
}

}
