// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/trace.hpp>

#include <culvert/base/shortage.hpp>

namespace culvert::telemetry {
namespace {

std::int64_t unix_now_ns() {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}

std::string_view to_string(TraceEvent::What what) noexcept {
    switch (what) {
        case TraceEvent::What::route: return "route";
        case TraceEvent::What::verdict: return "verdict";
        case TraceEvent::What::end: return "end";
        case TraceEvent::What::refused: return "refused";
    }
    return "unknown";
}

const std::string* Trace::pod_of(const OpenEntry& entry) const {
    const bool outbound = entry.direction == Direction::outbound;
    const state::Workload* own = (outbound ? entry.source_workload : entry.destination_workload).get();
    if (own) return pods_.uids.contains(own->uid) ? &own->uid : nullptr;
    auto found = pods_.uid_of_ip.find((outbound ? entry.source : entry.destination).ip);
    return found == pods_.uid_of_ip.end() ? nullptr : &found->second;
}

std::unique_ptr<TraceEvent> Trace::event(TraceEvent::What what, const OpenEntry& entry) const noexcept {
    std::unique_ptr<TraceEvent> made;
    base::shortage::guard("a traced event", [&] {
        const std::string* pod = pod_of(entry);
        if (!pod) return;
        auto event = std::make_unique<TraceEvent>();
        event->what = what;
        event->direction = entry.direction;
        event->at_ns = unix_now_ns();
        event->pod = *pod;
        event->source = entry.source;
        const auto target = base::SocketAddress::parse(entry.hbone_target());
        event->destination = target ? *target : entry.destination;
        event->source_workload = entry.source_workload;
        event->destination_workload = entry.destination_workload;
        const bool outbound = entry.direction == Direction::outbound;
        if (auto peer = outbound ? entry.destination_identity() : entry.source_identity())
            event->peer = peer->to_string();
        made = std::move(event);
    });
    return made;
}

void Trace::tell(std::unique_ptr<TraceEvent> event) const noexcept {
    if (event && !ring_->events.push(std::move(*event))) ring_->dropped.add();
}

}
