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
    entry.service = route.service;
    if (route.via == state::Via::hbone) {
        entry.mutual_tls = true;
        entry.hbone_target = route.target.to_string();
    }
    record.context_known();
}

// Where the bytes go: one of the two. Neither: the record says why.
struct Way {
    hbone::Stream tunnel;
    std::unique_ptr<base::Socket> plain;
};

base::Task<Way> open_tunnel(Context& context, PodPtr pod, tls::CredentialsPtr own, state::WorkloadPtr source,
                            state::Route route, ConnectionRecord& record) {
    hbone::PoolKey key{pod->enrolment, source->identity(), std::move(route.accepted_identities), route.next_hop};
    hbone::Request request{
        .authority = route.target.to_string(),
        .baggage = baggage_of(*source),
        .forwarded = forwarded_for(record.entry.source, route.service.get()),
        .traceparent = new_traceparent(context.random),
    };
    auto opening = context.pool.open(std::move(key), std::move(own), std::move(request));
    auto stream = co_await std::move(opening);
    if (!stream) {
        record.close(reason_of(stream.error()), stream.error().to_string());
        co_return Way{};
    }
    co_return Way{std::move(*stream), nullptr};
}

base::Task<Way> dial_plain(Context& context, PodPtr pod, base::SocketAddress to, ConnectionRecord& record) {
    auto dialling = dial_out(context, pod, to);
    auto peer = co_await std::move(dialling);
    if (!peer) {
        record.close(CloseReason::connect_failed, "io error: " + dial_failure(peer.error()));
        co_return Way{};
    }
    co_return Way{{}, std::move(*peer)};
}

base::Task<Way> nowhere(ConnectionRecord& record, CloseReason reason, std::string why) {
    record.close(reason, std::move(why));
    co_return Way{};
}

// All that is decided before bytes flow.
base::Task<Way> find_way(Context& context, PodPtr pod, base::SocketAddress target, ConnectionRecord& record,
                         capture::Flow& flow_row) {
    state::SnapshotPtr mesh = context.mesh;  // one consistent world for this connection
    auto source = mesh->workload_by_uid(pod->uid);
    if (!source)
        return nowhere(
            record, CloseReason::not_ready,
            "failed to fetch information about local workload: " + pod->uid + " is not in the configuration");
    auto route = state::find_route(*mesh, *source, target, context.random);
    if (!route) return nowhere(record, CloseReason::no_route, route.error().to_string());
    describe(record, source, *route);

    if (route->via != state::Via::hbone) {
        flow_row.took(CV_PATH_PLAIN);
        return dial_plain(context, std::move(pod), route->next_hop, record);
    }
    auto identity = source->identity();
    auto own = context.credentials_of(identity);
    if (!own)
        return nowhere(record, CloseReason::not_ready,
                       "identity error: no certificate for " + identity.to_string() + " yet");
    flow_row.identify(identity.to_string(), route->destination->identity().to_string());
    flow_row.took(CV_PATH_TUNNEL);
    return open_tunnel(context, std::move(pod), std::move(own), std::move(source), std::move(*route), record);
}

// True when both directions have ended, and both in order.
template <class Pump>
bool clean_end(const Pump& pump, ConnectionRecord& record) {
    if (pump.failure())
        record.close(CloseReason::broken, pump.failure()->to_string());
    else
        record.close(CloseReason::ok);
    return !pump.failure();
}

base::Task<bool> through_plain_tcp(base::Socket& app, std::unique_ptr<base::Socket> peer, ConnectionRecord& record,
                                   capture::Flow& flow_row) {
    CutGuard cut_peer{*peer};
    SocketPump pump{app, *peer, {record, flow_row}};
    co_await pump.done();
    bool clean = clean_end(pump, record);
    if (clean) cut_peer.ended();
    co_return clean;
}

std::unique_ptr<base::Socket> watch_app(Context& context, base::Fd fd, ConnectionRecord& record) {
    auto watched = base::Socket::watch(context.loop, std::move(fd));
    if (watched) return std::move(*watched);
    record.close(CloseReason::over_limit, watched.error().to_string());
    return nullptr;
}

}

// Its frame lives as long as the connection: only what bytes need, all else is in the frames of what it waits for.
base::Task<> carry_outbound(Context& context, const PodPtr& pod, Accepted& accepted) {
    ConnectionRecord record{context.shared.access_log,      context.worker,  context.counters,
                            telemetry::Direction::outbound, accepted.source, accepted.target};
    context.counters.connections_outbound.add();
    capture::Flow flow_row = flow_of(context, accepted.fd.get());
    auto app = watch_app(context, std::move(accepted.fd), record);
    if (!app) co_return;
    CutGuard cut_app{*app};

    auto finding = find_way(context, pod, accepted.target, record, flow_row);
    Way way = co_await std::move(finding);
    if (way.tunnel) {
        TunnelPump pump{*app, way.tunnel, {record, flow_row}};
        co_await pump.done();
        if (clean_end(pump, record)) cut_app.ended();
    } else if (way.plain) {
        auto carrying = through_plain_tcp(*app, std::move(way.plain), record, flow_row);
        bool clean = co_await std::move(carrying);
        if (clean) cut_app.ended();
    }
}

}
