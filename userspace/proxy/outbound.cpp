// SPDX-License-Identifier: Apache-2.0
#include "outbound.hpp"

#include <culvert/base/over_limit.hpp>
#include <culvert/base/shortage.hpp>

#include "dial.hpp"
#include "first_bytes.hpp"
#include "headers.hpp"
#include "pump.hpp"

namespace culvert::proxy {
namespace {

using telemetry::CloseReason;
using telemetry::ConnectionRecord;

CloseReason reason_of(const base::Error& error) {
    if (base::is_over_limit(error)) return CloseReason::over_limit;
    std::string text = error.to_string();
    auto begins = [&text](std::string_view with) { return text.starts_with(with); };
    if (begins("identity error")) return CloseReason::not_ready;
    if (begins("http status")) return CloseReason::refused_by_peer;
    if (begins("tls handshake") || begins("identity verification") || begins("h2 failed"))
        return CloseReason::handshake_failed;
    if (begins("connection closed due to connection drain")) return CloseReason::drained;
    return CloseReason::connect_failed;
}

// What the log shows of both ends once the route is known; ztunnel shows identities only where mutual TLS used them.
void describe(ConnectionRecord& record, const state::Route& route) {
    auto& entry = record.entry;
    entry.destination = route.next_hop;
    entry.destination_workload = route.destination;
    entry.service = route.service;
    if (route.via == state::Via::hbone) {
        entry.mutual_tls = true;
        entry.set_hbone_target(route.target.to_string());
    }
    record.context_known();
}

void tell_route(const telemetry::Trace& trace, ConnectionRecord& record, const state::Route& route) {
    auto event = trace.event(telemetry::TraceEvent::What::route, record.entry);
    if (!event) return;
    base::shortage::guard("a traced event", [&] {
        const auto hop = route.next_hop.to_string();
        event->text = route.via == state::Via::hbone   ? "by HBONE to " + hop
                      : route.via == state::Via::plain ? "in plaintext to " + hop
                                                       : "past the mesh to " + hop;
        if (route.service) event->text += ", of " + route.service->hostname;
        event->peer.clear();
        for (const auto& identity : route.accepted_identities)
            event->peer += (event->peer.empty() ? "" : " or ") + identity;
    });
    trace.tell(std::move(event));
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

// The stream that the bytes go through. None: it is over, and the record says how.
using Way = base::Task<hbone::Stream>;

Way open_tunnel(Context& context, PodPtr pod, tls::CredentialsPtr own, state::WorkloadPtr source, state::Route route,
                base::Socket& app, ConnectionRecord& record, capture::Flow& flow_row) {
    hbone::PoolKey key{pod->enrolment, source->identity(), std::move(route.accepted_identities), route.next_hop};
    hbone::Request request{
        .authority = route.target.to_string(),
        .baggage = baggage_of(*source),
        .forwarded = forwarded_for(record.entry.source, route.service.get()),
        .traceparent = new_traceparent(context.random),
    };
    std::vector<std::byte> first;
    if (context.pool.takes_first_bytes(key)) {
        auto reading = first_bytes(app);
        first = co_await std::move(reading);
    }
    std::size_t sent = first.size();
    auto opening = context.pool.open(std::move(key), std::move(own), std::move(request), std::move(first));
    auto stream = co_await std::move(opening);
    if (stream) {
        if (sent > 0) Meter{record, flow_row}.from_app(sent);
        co_return std::move(*stream);
    }
    record.close(reason_of(stream.error()), stream.error().to_string());
    co_return hbone::Stream{};
}

// Once there is a certificate to open it with.
Way open_tunnel_later(Context& context, PodPtr pod, state::WorkloadPtr source, state::Route route, base::Socket& app,
                      ConnectionRecord& record, capture::Flow& flow_row) {
    auto waiting = context.certificates.wait(source->identity());
    auto own = co_await std::move(waiting);
    if (!own) {
        record.close(reason_of(own.error()), own.error().to_string());
        co_return hbone::Stream{};
    }
    auto opening = open_tunnel(context, std::move(pod), std::move(*own), std::move(source), std::move(route), app,
                               record, flow_row);
    auto stream = co_await std::move(opening);
    co_return stream;
}

// To its end: what has no tunnel lives here.
Way carry_plain(Context& context, PodPtr pod, base::SocketAddress to, base::Socket& app, ConnectionRecord& record,
                capture::Flow& flow_row) {
    auto dialling = dial_out(context, pod, to, WhenClosed::cut);
    auto peer = co_await std::move(dialling);
    if (!peer) {
        record.close(CloseReason::connect_failed, "io error: " + dial_failure(peer.error()));
        co_return hbone::Stream{};
    }
    SocketPump pump{app, **peer, {record, flow_row}};
    co_await pump.done();
    if (clean_end(pump, record)) {
        end_in_order(**peer);
        end_in_order(app);
    }
    co_return hbone::Stream{};
}

Way nowhere(ConnectionRecord& record, CloseReason reason, std::string why) {
    record.close(reason, std::move(why));
    co_return hbone::Stream{};
}

Way find_way_asked(Context& context, PodPtr pod, std::string network, base::SocketAddress target, base::Socket& app,
                   ConnectionRecord& record, capture::Flow& flow_row);

// Who is at the target may be asked for, once.
enum class Asking { may_be, is_done };

// All that is decided before bytes flow.
Way find_way(Context& context, const PodPtr& pod, const base::SocketAddress& target, base::Socket& app,
             ConnectionRecord& record, capture::Flow& flow_row, Asking asking = Asking::may_be) {
    state::SnapshotPtr mesh = context.mesh;  // one consistent world for this connection
    auto source = mesh->workload_by_uid(pod->uid);
    if (!source) return nowhere(record, CloseReason::not_ready, context.own_workloads.why_none(pod->uid));
    record.entry.source_workload = source;
    if (asking == Asking::may_be && context.on_demand.must_wait(*mesh, *source, target.ip)) [[unlikely]]
        return find_way_asked(context, pod, source->network, target, app, record, flow_row);
    auto route = state::find_route(*mesh, *source, target, context.random);
    if (!route) return nowhere(record, CloseReason::no_route, route.error().to_string());
    describe(record, *route);
    if (record.trace()) [[unlikely]]
        tell_route(*record.trace(), record, *route);

    if (route->via != state::Via::hbone) {
        flow_row.took(CV_PATH_PLAIN);
        return carry_plain(context, pod, route->next_hop, app, record, flow_row);
    }
    auto identity = source->identity();
    flow_row.identify(identity.to_string(), route->destination->identity().to_string());
    flow_row.took(CV_PATH_TUNNEL);
    if (auto own = context.certificates.find(identity))
        return open_tunnel(context, pod, std::move(own), std::move(source), std::move(*route), app, record, flow_row);
    return open_tunnel_later(context, pod, std::move(source), std::move(*route), app, record, flow_row);
}

// Nobody was told of at the target, which may mean that nobody has asked.
Way find_way_asked(Context& context, PodPtr pod, std::string network, base::SocketAddress target, base::Socket& app,
                   ConnectionRecord& record, capture::Flow& flow_row) {
    auto waiting = context.on_demand.wait(std::move(network), target.ip);
    auto answered = co_await std::move(waiting);
    if (!answered) {
        const bool over = base::is_over_limit(answered.error());
        record.close(over ? CloseReason::over_limit : CloseReason::not_ready, answered.error().to_string());
        co_return hbone::Stream{};
    }
    auto way = find_way(context, pod, target, app, record, flow_row, Asking::is_done);
    auto stream = co_await std::move(way);
    co_return stream;
}

// The mesh does not know the pod yet.
Way find_way_later(Context& context, PodPtr pod, base::SocketAddress target, base::Socket& app,
                   ConnectionRecord& record, capture::Flow& flow_row) {
    auto waiting = context.own_workloads.wait(pod->uid);
    co_await std::move(waiting);
    auto way = find_way(context, pod, target, app, record, flow_row);
    auto stream = co_await std::move(way);
    co_return stream;
}

std::unique_ptr<base::Socket> watch_app(Context& context, base::Fd fd, ConnectionRecord& record) {
    auto watched = base::Socket::watch(context.loop, std::move(fd));
    if (watched) return std::move(*watched);
    record.close(CloseReason::over_limit, watched.error().to_string());
    return nullptr;
}

}

// Its frame lives as long as the connection: only what a tunnel's bytes need, all else is in frames that it waits for.
base::Task<> carry_outbound(Context& context, const PodPtr& pod, Accepted& accepted) {
    ConnectionRecord record{context.recorder, telemetry::Direction::outbound, accepted.source, accepted.target};
    context.counters.connections_outbound.add();
    capture::Flow flow_row = flow_of(context, accepted);
    auto app = watch_app(context, std::move(accepted.fd), record);
    if (!app) co_return;

    auto way = context.mesh->workload_by_uid(pod->uid)
                   ? find_way(context, pod, accepted.target, *app, record, flow_row)
                   : find_way_later(context, pod, accepted.target, *app, record, flow_row);
    hbone::Stream tunnel = co_await std::move(way);
    if (!tunnel) co_return;
    TunnelPump pump{*app, tunnel, {record, flow_row}};
    co_await pump.done();
    if (clean_end(pump, record)) end_in_order(*app);
}

}
