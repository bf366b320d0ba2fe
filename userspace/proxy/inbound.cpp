// SPDX-License-Identifier: Apache-2.0
#include "inbound.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <culvert/base/over_limit.hpp>
#include <culvert/base/shortage.hpp>

#include "dial.hpp"
#include "enforce.hpp"
#include "headers.hpp"
#include "pump.hpp"

namespace culvert::proxy {
namespace {

using telemetry::CloseReason;
using telemetry::ConnectionRecord;

// Why a request is refused before the app is dialled: the status for the peer, the text for our log.
struct Refusal {
    int status;
    CloseReason reason;
    std::string text;
};

// What a peer has made up may be 64 KiB long.
std::string shown(const std::string& text) {
    constexpr std::size_t most = 256;
    return text.size() <= most ? text : text.substr(0, most) + "...";
}

// host:port of an authority that is not ip:port.
std::optional<std::pair<std::string, std::uint16_t>> split_host(const std::string& authority) {
    auto colon = authority.rfind(':');
    if (colon == 0 || colon == std::string::npos) return std::nullopt;
    std::uint16_t port = 0;
    const char* end = authority.data() + authority.size();
    auto [at, ec] = std::from_chars(authority.data() + colon + 1, end, port);
    if (ec != std::errc{} || at != end || authority.find_first_of("[]/@ ") < colon) return std::nullopt;
    return std::pair{authority.substr(0, colon), port};
}

// The port at which this workload serves the named service, as ztunnel chooses it.
std::optional<std::uint16_t> port_behind(const state::Snapshot& mesh, const state::Workload& own,
                                         const std::string& host, std::uint16_t port) {
    for (const auto& service : mesh.services()) {
        if (service->hostname != host) continue;
        auto endpoint = service->endpoints.find(own.uid);
        if (endpoint != service->endpoints.end()) {
            auto mapped = endpoint->second.ports.find(port);
            if (mapped != endpoint->second.ports.end() && mapped->second != 0) return mapped->second;
        }
        auto mapped = service->ports.find(port);
        if (mapped != service->ports.end() && mapped->second != 0) return mapped->second;
    }
    // Of a service that nobody has told of, on demand, its workload says as much itself.
    for (const auto& [service, ports] : own.services) {
        auto mapped = service.hostname == host ? ports.find(port) : ports.end();
        if (mapped != ports.end() && mapped->second != 0) return mapped->second;
    }
    return std::nullopt;
}

// The app's address for a request: always the address that the tunnel itself dialled.
std::optional<Refusal> find_app(const state::Snapshot& mesh, const LocalPod& pod, const state::Workload& own,
                                const hbone::Incoming& incoming, base::SocketAddress& app) {
    const std::string& authority = incoming.request().authority;
    const auto& local = incoming.tunnel().local;
    app.ip = local.ip;
    auto address = base::SocketAddress::parse(authority);
    if (address && address->port != 0) {
        if (address->ip != local.ip)
            return Refusal{400, CloseReason::bad_request,
                           "ip mismatch: " + local.ip.to_string() + " != " + address->ip.to_string()};
        app.port = address->port;
    } else if (auto host = split_host(authority)) {
        auto port = port_behind(mesh, own, host->first, host->second);
        if (!port)
            return Refusal{503, CloseReason::no_route,
                           "requested service " + shown(authority) + " found, but cannot resolve port"};
        app.port = *port;
    } else {
        return Refusal{400, CloseReason::bad_request, "invalid authority in CONNECT: \"" + shown(authority) + "\""};
    }
    if (state::is_mesh_port(app.port) || (pod.only_port != 0 && app.port != pod.only_port))
        return Refusal{503, CloseReason::no_route, "attempted recursive call to ourselves"};
    return std::nullopt;
}

// The service that the client says it called; a name of any make.
std::string_view named_host(const hbone::Request& request) {
    auto host = host_in(request.forwarded);
    if (!host.empty() || base::SocketAddress::parse(request.authority)) return host;
    return std::string_view{request.authority}.substr(0, request.authority.rfind(':'));
}

// By its address; who comes from another network has one that is somebody else's here. Else as its baggage says.
state::WorkloadPtr source_of(Context& context, const state::Snapshot& mesh, const LocalPod& pod,
                             const hbone::Incoming& incoming) {
    const hbone::Request& request = incoming.request();
    auto alike = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
    if (request.network.empty() || std::ranges::equal(request.network, pod.network, alike))
        if (auto known = mesh.workload_by_ip(pod.network, incoming.tunnel().peer.ip)) return known;
    return request.baggage.empty() ? nullptr : context.strangers.find(request.baggage, Strangers::Clock::now());
}

// The app and the stream to its client, whose request is yet to be answered. Neither: it has been refused, and the
// record says why.
struct Leg {
    std::unique_ptr<base::Socket> app;
    hbone::Stream client;
    std::unique_ptr<hbone::Incoming> request;  // a pointer is all that a long life keeps
};

// All that is decided before bytes flow.
base::Task<Leg> open_leg(Context& context, PodPtr pod, hbone::Incoming incoming, ConnectionRecord& record,
                         Enforced& enforced, capture::Flow& flow_row) {
    const hbone::TunnelInfo& tunnel = incoming.tunnel();
    auto refuse = [&](int status, CloseReason reason, std::string text) {
        incoming.refuse(status);
        record.close(reason, std::move(text));
        return Leg{};
    };

    // A peer decides how many it makes of these.
    auto refuse_request = [&](Refusal refusal) {
        if (!context.refusals.count(telemetry::PeerFault::request, tunnel.peer)) record.leave_out_of_log();
        return refuse(refusal.status, refusal.reason, std::move(refusal.text));
    };

    if (incoming.method() != "CONNECT")
        co_return refuse_request({400, CloseReason::bad_request, "method not allowed: " + shown(incoming.method())});
    if (!context.mesh->workload_by_uid(pod->uid)) {
        auto waiting = context.own_workloads.wait(pod->uid);
        co_await std::move(waiting);
    }
    state::SnapshotPtr mesh = context.mesh;
    const state::Known* known = mesh->known(pod->uid);
    if (!known) co_return refuse(503, CloseReason::not_ready, context.own_workloads.why_none(pod->uid));
    const state::WorkloadPtr& own = known->workload;
    base::SocketAddress app;
    if (auto refusal = find_app(*mesh, *pod, *own, incoming, app)) co_return refuse_request(std::move(*refusal));
    auto& entry = record.entry;
    entry.source_workload = source_of(context, *mesh, *pod, incoming);
    entry.mutual_tls = true;
    entry.peer_identity = tunnel.identity;
    entry.set_hbone_target(incoming.request().authority);
    entry.destination_workload = own;
    entry.service = known->service_at(app.port, named_host(incoming.request()));
    record.context_known();
    auto denied = enforced.begin(context, app.port);
    if (enforced.waits()) {
        auto deciding = enforced.decided(context);
        denied = co_await std::move(deciding);
    }
    if (denied) co_return refuse(401, CloseReason::denied, std::move(*denied));

    auto dialling = dial_app(context, pod, tunnel.peer.ip, app, capture::OwnSocket::inbound_leg);
    auto leg = co_await std::move(dialling);
    if (!leg) co_return refuse(503, CloseReason::connect_failed, "connection failed: " + dial_failure(leg.error()));
    if (enforced.is_cut()) {  // meanwhile
        (*leg)->close_with_reset(true);
        co_return refuse(401, CloseReason::policy_changed, std::string{policy_change});
    }
    if (pod->only_port == 0) flow_row = flow_of(context, (*leg)->fd());
    flow_row.identify(tunnel.identity ? tunnel.identity->to_string() : "", own->identity().to_string());
    flow_row.took(CV_PATH_TUNNEL);
    // A peer that has sent bytes already waits for no answer.
    if (!incoming.has_first_bytes()) co_return Leg{std::move(*leg), incoming.accept(baggage_of(*own)), {}};
    auto client = incoming.stream();
    co_return Leg{std::move(*leg), std::move(client), std::make_unique<hbone::Incoming>(std::move(incoming))};
}

// An app that has been asked something often answers at once: then its first bytes leave together with the 200. Soon,
// or never mind: what the peer has to say beyond its own first bytes waits for that.
base::Task<> say_ok(base::Loop& loop, TunnelPump& pump, hbone::Incoming request, state::WorkloadPtr own) {
    if (!pump.app_speaks()) {
        base::Event speaks{loop};
        base::Timer enough{loop, [&speaks] { speaks.set(); }};
        enough.arm(std::chrono::microseconds{200});
        pump.tell_when_app_speaks(&speaks);
        co_await speaks;
        pump.tell_when_app_speaks(nullptr);
    }
    request.say_ok(baggage_of(*own));
}

// Its frame lives as long as the connection: only what bytes need, all else is in the frame of open_leg(). Pod and
// request are borrowed until the first wait.
base::Task<> answer(Context& context, const PodPtr& pod, hbone::Incoming& incoming) {
    ConnectionRecord record{context.recorder, telemetry::Direction::inbound, incoming.tunnel().peer,
                            incoming.tunnel().local};
    context.counters.connections_inbound_hbone.add();
    capture::Flow flow_row;
    Enforced enforced{record};
    auto opening = open_leg(context, pod, std::move(incoming), record, enforced, flow_row);
    Leg leg = co_await std::move(opening);
    if (!leg.app) co_return;

    TunnelPump pump{*leg.app, leg.client, {record, flow_row}};
    enforced.flows(&pump);
    if (leg.request) {
        auto saying = say_ok(context.loop, pump, std::move(*leg.request), record.entry.destination_workload);
        leg.request.reset();
        co_await std::move(saying);
    }
    co_await pump.done();
    if (pump.failure()) {
        record.close(CloseReason::broken, pump.failure()->to_string());
        co_return;
    }
    end_in_order(*leg.app);
    record.close(CloseReason::ok);
}

// Turns each request into a task of its own.
struct Requests : hbone::RequestHandler {
    Requests(Context& c, PodPtr p, base::TaskGroup& g) : context{c}, pod{std::move(p)}, group{g} {}
    void on_request(hbone::Incoming incoming) override {
        if (context.counters.connections_open.get() >= context.limits.connections_per_worker) {
            incoming.refuse(503);
            context.counters.closed[static_cast<std::size_t>(CloseReason::over_limit)].add();
            return;
        }
        // Without memory its end answers 503.
        base::shortage::guard("a connection", [&] { group.spawn(answer(context, pod, incoming)); });
    }
    Context& context;
    PodPtr pod;
    base::TaskGroup& group;
};

}

base::Task<> serve_tunnel(Context& context, PodPtr pod, hbone::Server& server, base::TaskGroup& requests,
                          Accepted accepted) {
    context.counters.tunnels_in_accepted.add();
    // The line of a tunnel that never came to a request (ztunnel: one WARN with src and dst). With requests, theirs
    // count.
    auto failed = [&](CloseReason reason, std::string text) {
        ConnectionRecord record{context.recorder, telemetry::Direction::inbound, accepted.source, accepted.target};
        record.close(reason, std::move(text));
    };
    auto own = context.certificates.find(pod->identity);
    if (!own) {
        auto waiting = context.certificates.wait(pod->identity);
        auto come = co_await std::move(waiting);
        if (!come) {
            const bool over = base::is_over_limit(come.error());
            failed(over ? CloseReason::over_limit : CloseReason::not_ready, come.error().to_string());
            co_return;
        }
        own = std::move(*come);
    }
    auto socket = base::Socket::watch(context.loop, std::move(accepted.fd));
    if (!socket) {
        failed(CloseReason::over_limit, socket.error().to_string());
        co_return;
    }
    struct Open {
        telemetry::Counter& gauge;
        explicit Open(telemetry::Counter& g) : gauge{g} { gauge.add(); }
        ~Open() { gauge.sub(); }
    } open{context.counters.tunnels_in_open};
    Requests handler{context, pod, requests};
    auto serving = server.serve(std::move(*socket), std::move(own), handler);
    auto ended = co_await std::move(serving);
    if (ended) co_return;
    std::string text = ended.error().to_string();
    auto fault = fault_of(text);
    auto reason = fault == telemetry::PeerFault::over_limit ? CloseReason::over_limit : CloseReason::handshake_failed;
    if (context.refusals.count(fault, accepted.source))
        failed(reason, std::move(text));
    else
        context.counters.closed[static_cast<std::size_t>(reason)].add();
}

}
