// SPDX-License-Identifier: Apache-2.0
#include "outbound.hpp"

#include "dial.hpp"
#include "headers.hpp"
#include "pump.hpp"

namespace culvert::proxy {
namespace {

using telemetry::CloseReason;
using telemetry::ConnectionRecord;

CloseReason reason_of(const base::Error& error) {
    std::string text = error.to_string();
    auto begins = [&text](std::string_view with) { return text.starts_with(with); };
    if (begins("http status")) return CloseReason::refused_by_peer;
    if (begins("tls handshake") || begins("identity verification") || begins("h2 failed"))
        return CloseReason::handshake_failed;
    if (begins("connection closed due to connection drain")) return CloseReason::drained;
    return CloseReason::connect_failed;
}

// What the log shows of both ends once the route is known; ztunnel shows identities only where mutual TLS used them.
void describe(ConnectionRecord& record, const state::WorkloadPtr& source, const state::Route& route) {
    auto& entry = record.entry;
    entry.source_workload = source;
    entry.destination = route.next_hop;
    entry.destination_workload = route.destination;
    if (route.service) entry.service = route.service->hostname;
    if (route.via == state::Via::hbone) {
        entry.source_identity = source->identity();
        entry.destination_identity = route.destination->identity();
        entry.hbone_target = route.target.to_string();
    }
    record.context_known();
}

// Bytes until both directions have ended. True when both did so cleanly.
template <class Pump>
base::Task<bool> flow(Pump& pump, ConnectionRecord& record) {
    co_await pump.done();
    if (pump.failure())
        record.close(CloseReason::broken, pump.failure()->to_string());
    else
        record.close(CloseReason::ok);
    co_return !pump.failure();
}

base::Task<bool> through_tunnel(Context& context, PodPtr pod, tls::CredentialsPtr own, const state::Workload& source,
                                const state::Route& route, base::Socket& app, ConnectionRecord& record, Meter meter) {
    hbone::PoolKey key{pod->enrolment, source.identity(), route.accepted_identities, route.next_hop};
    hbone::Request request{
        .authority = route.target.to_string(),
        .baggage = baggage_of(source),
        .forwarded = forwarded_for(record.entry.source, route.service.get()),
        .traceparent = new_traceparent(context.random),
    };
    auto opening = context.pool.open(std::move(key), std::move(own), std::move(request));
    auto stream = co_await std::move(opening);
    if (!stream) {
        record.close(reason_of(stream.error()), stream.error().to_string());
        co_return false;
    }
    TunnelPump pump{app, *stream, meter};
    bool clean = co_await flow(pump, record);
    co_return clean;
}

base::Task<bool> through_plain_tcp(Context& context, PodPtr pod, const state::Route& route, base::Socket& app,
                                   ConnectionRecord& record, Meter meter) {
    auto dialling = dial_out(context, pod, route.next_hop);
    auto peer = co_await std::move(dialling);
    if (!peer) {
        record.close(CloseReason::connect_failed, "io error: " + dial_failure(peer.error()));
        co_return false;
    }
    CutGuard cut_peer{**peer};
    SocketPump pump{app, **peer, meter};
    bool clean = co_await flow(pump, record);
    if (clean) cut_peer.ended();
    co_return clean;
}

}

base::Task<> carry_outbound(Context& context, PodPtr pod, Accepted accepted) {
    ConnectionRecord record{context.shared.access_log,      context.worker,  context.counters,
                            telemetry::Direction::outbound, accepted.source, accepted.target};
    context.counters.connections_outbound.add();
    capture::Flow flow_row = flow_of(context, accepted.fd.get());
    auto watched = base::Socket::watch(context.loop, std::move(accepted.fd));
    if (!watched) {
        record.close(CloseReason::over_limit, watched.error().to_string());
        co_return;
    }
    base::Socket& app = **watched;
    CutGuard cut_app{app};

    state::SnapshotPtr mesh = context.mesh;  // one consistent world for this connection
    auto source = mesh->workload_by_uid(pod->uid);
    if (!source) {
        record.close(CloseReason::not_ready,
                     "failed to fetch information about local workload: " + pod->uid + " is not in the configuration");
        co_return;
    }
    auto route = state::find_route(*mesh, *source, accepted.target, context.random);
    if (!route) {
        record.close(CloseReason::no_route, route.error().to_string());
        co_return;
    }
    describe(record, source, *route);
    Meter meter{record, context.counters, flow_row, true};

    if (route->via != state::Via::hbone) {
        flow_row.took(CV_PATH_PLAIN);
        bool clean = co_await through_plain_tcp(context, pod, *route, app, record, meter);
        if (clean) cut_app.ended();
        co_return;
    }
    auto own = context.credentials_of(source->identity());
    if (!own) {
        record.close(CloseReason::not_ready,
                     "identity error: no certificate for " + source->identity().to_string() + " yet");
        co_return;
    }
    flow_row.identify(source->identity().to_string(), route->destination->identity().to_string());
    flow_row.took(CV_PATH_TUNNEL);
    auto carrying = through_tunnel(context, pod, std::move(own), *source, *route, app, record, meter);
    bool clean = co_await std::move(carrying);
    if (clean) cut_app.ended();
}

}
