// SPDX-License-Identifier: Apache-2.0
#include "passthrough.hpp"

#include "dial.hpp"
#include "enforce.hpp"
#include "pump.hpp"

namespace culvert::proxy {

using telemetry::CloseReason;
using telemetry::ConnectionRecord;

base::Task<> carry_passthrough(Context& context, PodPtr pod, Accepted accepted) {
    ConnectionRecord record{context.recorder, telemetry::Direction::inbound, accepted.source, accepted.target};
    context.counters.connections_inbound_plain.add();
    capture::Flow flow_row = flow_of(context, accepted);
    auto watched = base::Socket::watch(context.loop, std::move(accepted.fd));
    if (!watched) {
        record.close(CloseReason::over_limit, watched.error().to_string());
        co_return;
    }
    base::Socket& client = **watched;

    if (!context.mesh->workload_by_uid(pod->uid)) {
        auto waiting = context.own_workloads.wait(pod->uid);
        co_await std::move(waiting);
    }
    state::SnapshotPtr mesh = context.mesh;
    const state::Known* own = mesh->known(pod->uid);
    if (!own) {
        record.close(CloseReason::not_ready, context.own_workloads.why_none(pod->uid));
        co_return;
    }
    if (state::is_mesh_port(accepted.target.port)) {
        record.close(CloseReason::no_route, "attempted recursive call to ourselves");
        co_return;
    }
    record.entry.source_workload = mesh->workload_by_ip(pod->network, accepted.source.ip);
    record.entry.destination_workload = own->workload;
    record.entry.service = own->service_at(accepted.target.port);
    record.context_known();
    Enforced enforced{record};
    auto denied = enforced.begin(context, accepted.target.port);
    if (enforced.waits()) {
        auto deciding = enforced.decided(context);
        denied = co_await std::move(deciding);
    }
    if (denied) {
        record.close(CloseReason::denied, std::move(*denied));
        co_return;
    }
    flow_row.took(CV_PATH_PLAIN);

    auto dialling = dial_app(context, pod, accepted.source.ip, accepted.target, capture::OwnSocket::plain_leg);
    auto app = co_await std::move(dialling);
    if (!app) {
        record.close(CloseReason::connect_failed, "connection failed: " + dial_failure(app.error()));
        co_return;
    }
    if (enforced.is_cut()) co_return;  // meanwhile
    SocketPump pump{**app, client, {record, flow_row}};
    enforced.flows(&pump);
    co_await pump.done();
    if (pump.failure()) {
        record.close(CloseReason::broken, pump.failure()->to_string());
        co_return;
    }
    end_in_order(client);
    end_in_order(**app);
    record.close(CloseReason::ok);
}

}
