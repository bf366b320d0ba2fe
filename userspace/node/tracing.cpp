// SPDX-License-Identifier: Apache-2.0
#include "tracing.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include <culvert/base/log.hpp>
#include <culvert/policy/words.hpp>

namespace culvert::node {
namespace {

namespace json = boost::json;
using telemetry::TraceEvent;

constexpr std::chrono::milliseconds between_looks{20};

std::string line(const json::value& value) {
    return json::serialize(value) + "\n";
}

std::string time_of(std::int64_t unix_ns) {
    fmt::memory_buffer text;
    base::log::append_time(text, unix_ns);
    return {text.data(), text.size()};
}

json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value{} : json::value(text);
}

json::value side(const base::SocketAddress& address, const state::WorkloadPtr& workload) {
    return {{"address", address.to_string()},
            {"pod", workload ? json::value(workload->namespace_ + "/" + workload->name) : json::value{}}};
}

std::string line_of(const TraceEvent& event) {
    json::object told{
        {"time", time_of(event.at_ns)},
        {"event", std::string{to_string(event.what)}},
        {"direction", std::string{to_string(event.direction)}},
        {"source", side(event.source, event.source_workload)},
        {"destination", side(event.destination, event.destination_workload)},
        {"peer", text_or_null(event.peer)},
        {"good", event.good},
        {"text", event.text},
    };
    if (event.what == TraceEvent::What::end) {
        told["reason"] = std::string{to_string(event.reason)};
        told["bytes_sent"] = event.bytes_sent;
        told["bytes_received"] = event.bytes_received;
        told["duration_ms"] = event.duration.count();
    }
    return line(told);
}

}

std::shared_ptr<admin::Feed> Tracing::follow(const control::Pod& pod, const std::vector<base::IpAddress>& ips) {
    auto feed = std::make_shared<admin::Feed>();
    const bool first = readers_.empty();
    readers_.push_back({pod.uid, ips, feed});
    if (first)
        for (std::size_t i = 0; i < workers_.size(); ++i) rings_.push_back(std::make_shared<telemetry::TraceRing>());
    const std::string name = pod.identity.namespace_ + "/" + pod.name;
    tell_workers([feed, name] { feed->push(line({{"event", "tracing"}, {"pod", name}})); });
    if (first) look_after();
    return feed;
}

void Tracing::tell_workers(std::function<void()> begun) {
    telemetry::Trace::Pods pods;
    for (const Reader& reader : readers_) {
        pods.uids.insert(reader.uid);
        for (const auto& ip : reader.ips) pods.uid_of_ip[ip] = reader.uid;
    }
    auto missing = std::make_shared<std::size_t>(workers_.size());
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        telemetry::TracePtr trace;
        if (!readers_.empty()) trace = std::make_shared<const telemetry::Trace>(pods, rings_[i]);
        workers_[i]->trace(std::move(trace), [&io = io_, missing, begun] {
            boost::asio::post(io, [missing, begun] {
                if (--*missing == 0) begun();
            });
        });
    }
}

void Tracing::look_after() {
    now_and_then_.expires_after(between_looks);
    now_and_then_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        collect();
        const auto gone = std::erase_if(readers_, [](const Reader& reader) { return reader.feed->closed(); });
        if (readers_.empty()) {
            rings_.clear();
            dropped_by_workers_ = 0;
        }
        if (gone > 0) tell_workers([] {});
        if (!readers_.empty()) look_after();
    });
}

// In the order in which things happened, as far as what is there by now tells it.
void Tracing::collect() {
    std::vector<TraceEvent> events;
    std::uint64_t dropped = 0;
    for (const auto& ring : rings_) {
        TraceEvent event;
        while (events.size() < telemetry::TraceRing::bound * rings_.size() && ring->events.pop(event))
            events.push_back(std::move(event));
        dropped += ring->dropped.get();
    }
    std::stable_sort(events.begin(), events.end(),
                     [](const TraceEvent& a, const TraceEvent& b) { return a.at_ns < b.at_ns; });
    for (const TraceEvent& event : events) pass_on(event);
    say_dropped(dropped);
}

void Tracing::pass_on(const TraceEvent& event) {
    std::string text;
    for (Reader& reader : readers_) {
        if (reader.uid != event.pod) continue;
        if (text.empty()) text = line_of(event);
        if (!reader.feed->push(text)) ++reader.dropped;
    }
}

void Tracing::say_dropped(std::uint64_t by_workers) {
    const std::uint64_t more = by_workers - std::exchange(dropped_by_workers_, by_workers);
    for (Reader& reader : readers_) {
        reader.dropped += more;
        if (reader.dropped == 0) continue;
        if (reader.feed->push(line({{"event", "dropped"}, {"count", reader.dropped}}))) reader.dropped = 0;
    }
}

// No socket of ours saw it. The policies may have changed since: then they say something else now, and so does the
// text.
void Tracing::refused(const capture::Refused& connection) {
    if (std::ranges::none_of(readers_, [&](const Reader& reader) { return reader.uid == connection.uid; })) return;
    const policy::Connection asked{connection.source.ip, connection.destination, nullptr};
    const policy::Compiled* compiled = mesh_.policies()->of(connection.uid);
    const auto decision = compiled ? policy::decide(*compiled, asked) : policy::Decision{};
    TraceEvent event;
    event.what = TraceEvent::What::refused;
    event.direction = telemetry::Direction::inbound;
    event.good = false;
    event.at_ns = std::chrono::nanoseconds{connection.at.time_since_epoch()}.count();
    event.pod = connection.uid;
    event.source = connection.source;
    event.destination = connection.destination;
    event.source_workload = mesh_.snapshot()->workload_by_ip(network_, connection.source.ip);
    event.destination_workload = mesh_.snapshot()->workload_by_uid(connection.uid);
    event.text = decision.allowed() ? std::string{connection.reason} : in_words(decision, compiled, asked);
    pass_on(event);
}

void Tracing::missed(std::uint64_t connections) {
    for (Reader& reader : readers_) reader.dropped += connections;
}

void Tracing::end() {
    now_and_then_.cancel();
    collect();
    for (const Reader& reader : readers_) reader.feed->end();
}

}
