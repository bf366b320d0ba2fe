// SPDX-License-Identifier: Apache-2.0
#include <culvert/proxy/live.hpp>

#include <culvert/telemetry/connection_record.hpp>

namespace culvert::proxy {
namespace {

using telemetry::ConnectionRecord;
using telemetry::Direction;

const state::Workload* own_workload(const ConnectionRecord& record) {
    const auto& entry = record.entry;
    return (entry.direction == Direction::outbound ? entry.source_workload : entry.destination_workload).get();
}

bool is_of(const state::Workload* workload, const std::string& pod) {
    if (pod.empty()) return true;
    if (!workload) return false;
    return workload->uid == pod || workload->name == pod || workload->namespace_ + "/" + workload->name == pod;
}

LiveConnection copy_of(const ConnectionRecord& record) {
    const auto& entry = record.entry;
    return {
        .direction = entry.direction,
        .tunnelled = entry.mutual_tls,
        .source = entry.source,
        .destination = entry.destination,
        .target = entry.hbone_target(),
        .source_workload = entry.source_workload,
        .destination_workload = entry.destination_workload,
        .source_identity = entry.source_identity(),
        .destination_identity = entry.destination_identity(),
        .service = entry.service,
        .began = record.began(),
        .bytes_sent = entry.bytes_sent,
        .bytes_received = entry.bytes_received,
    };
}

}

ConnectionPage page_of(const telemetry::Recorder& recorder, const ConnectionQuery& query) {
    ConnectionPage page;
    for (const auto& record : recorder.live) {
        if (record.began() <= query.after || !is_of(own_workload(record), query.pod)) continue;
        // Whoever asks for the next page names the last one's time: those that share it belong together.
        bool full = page.connections.size() >= query.limit;
        if (full && (page.connections.empty() || page.connections.back().began != record.began())) {
            page.more = true;
            break;
        }
        page.connections.push_back(copy_of(record));
    }
    return page;
}

std::map<std::string, PodUse> connections_of_pods(const telemetry::Recorder& recorder) {
    // Few workloads have many connections: uids are compared once each.
    std::map<const state::Workload*, std::size_t> counts;
    for (const auto& record : recorder.live) ++counts[own_workload(record)];
    std::map<std::string, PodUse> uses;
    for (const auto& [workload, count] : counts)
        if (workload) uses[workload->uid].connections += count;
    return uses;
}

}
