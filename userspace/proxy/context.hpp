// SPDX-License-Identifier: Apache-2.0
// What every connection of one worker uses. Lives on: that worker's loop.
#pragma once
#include <random>

#include <culvert/hbone/handshakes.hpp>
#include <culvert/hbone/pool.hpp>
#include <culvert/proxy/worker.hpp>
#include <culvert/state/route.hpp>
#include <culvert/telemetry/connection_record.hpp>

#include "enforce.hpp"
#include "on_demand.hpp"
#include "own_certificates.hpp"
#include "own_workloads.hpp"
#include "refusals.hpp"
#include "strangers.hpp"

namespace culvert::proxy {

struct Context {
    base::Loop& loop;
    unsigned worker;  // which of them
    Shared shared;
    const Limits& limits;
    telemetry::WorkerCounters& counters;
    telemetry::Recorder recorder;
    hbone::Pool& pool;
    hbone::Handshakes& handshakes;
    Refusals& refusals;
    OwnCertificates& certificates;
    OwnWorkloads& own_workloads;
    OnDemand& on_demand;
    state::SnapshotPtr mesh;  // null, as the policies are, until both are published: before the first pod
    policy::SetPtr policies;
    state::Random random{std::random_device{}()};
    std::uint16_t next_leg_port = 0;  // dial.cpp: source ports of inbound legs
    EnforcedConnections enforced{};
    Strangers strangers{};
};

// A connection as it was accepted.
struct Accepted {
    base::Fd fd;
    base::SocketAddress source;  // who connected
    base::SocketAddress target;  // what it asked for
};

// The connection's row in cv_flows; counted where there is a table and no row in it.
inline capture::Flow flow_of(Context& context, int fd) {
    capture::FlowTable& flows = context.shared.capture.flows();
    if (flows.size() == 0) return {};
    capture::Flow row = flows.claim(fd);
    if (!row) context.counters.flows_unlisted.add();
    return row;
}

inline capture::Flow flow_of(Context& context, const Accepted& accepted) {
    capture::Flow row = flow_of(context, accepted.fd.get());
    row.asked_for(accepted.target);
    return row;
}

using PodPtr = std::shared_ptr<const LocalPod>;

}
