// SPDX-License-Identifier: Apache-2.0
#include "inspect.hpp"

#include <unistd.h>

#include <algorithm>

#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include <fmt/chrono.h>

#include <culvert/explain/names.hpp>

#include "tell_explanation.hpp"
#include "tell_policies.hpp"
#include "version.hpp"

namespace culvert::node {
namespace {

namespace json = boost::json;
using admin::Answer;
using admin::Query;
using admin::Reply;
using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr std::size_t page_size = 500;
constexpr std::size_t largest_page = 2000;

const auto started = steady_clock::now();

Answer answer(const json::value& value) {
    return {200, "application/json", json::serialize(value) + "\n"};
}

// To somebody whose words led nowhere.
Answer complaint(const std::string& text) {
    return {400, "text/plain; charset=utf-8", text + "\n"};
}

std::string rfc3339(system_clock::time_point time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(system_clock::to_time_t(time)));
}

double seconds_since(steady_clock::time_point then) {
    return std::chrono::duration<double>(steady_clock::now() - then).count();
}

std::uint64_t sum(const Workers& workers, telemetry::Counter telemetry::WorkerCounters::*counter) {
    std::uint64_t total = 0;
    for (const auto& worker : workers) total += (worker->counters().*counter).get();
    return total;
}

json::value status(const Inspected& node) {
    using Counters = telemetry::WorkerCounters;
    json::array pending;
    for (const auto& part : node.readiness.waits_for()) pending.emplace_back(part);
    json::array repairs;
    for (const auto& repair : node.capture->repairs())
        repairs.push_back({{"part", repair.what}, {"count", repair.count}});
    auto log = node.access_log->stats();
    return {
        {"version", version},
        {"commit", commit},
        {"pid", ::getpid()},
        {"node", node.config.node.name},
        {"capture", node.config.capture == control::CaptureMode::ebpf ? "ebpf" : "iptables"},
        {"uptime_seconds", seconds_since(started)},
        {"ready", pending.empty()},
        {"pending", pending},
        {"workers", node.workers.size()},
        {"pods", {{"in_mesh", node.pods->size()}, {"waiting", node.pods->waiting()}}},
        {"connections", sum(node.workers, &Counters::connections_open)},
        {"tunnels",
         {{"to_peers", sum(node.workers, &Counters::tunnels_out_open)},
          {"from_peers", sum(node.workers, &Counters::tunnels_in_open)}}},
        {"config",
         {{"file", node.source.name()},
          {"last_change", rfc3339(node.reloads.last)},
          {"applied", node.reloads.applied},
          {"refused", node.reloads.refused},
          {"error", node.reloads.error}}},
        {"repairs", repairs},
        {"access_log",
         {{"written", log.written}, {"dropped", log.dropped}, {"lost", log.lost}, {"write_errors", log.write_errors}}},
    };
}

json::value reasons(const Inspected& node) {
    json::array all;
    for (const auto& reason : node.capture->reasons())
        all.push_back({{"name", reason.name}, {"text", reason.text}, {"count", reason.count}});
    auto now = steady_clock::now().time_since_epoch();
    return {{"at_ns", std::chrono::nanoseconds{now}.count()}, {"reasons", all}};
}

json::value to_json(const state::Exclusions& exclude) {
    json::array ranges;
    for (const auto& range : exclude.outbound_cidrs) ranges.emplace_back(range.to_string());
    return {{"outbound_ports", json::value_from(exclude.outbound_ports)},
            {"outbound_cidrs", std::move(ranges)},
            {"inbound_ports", json::value_from(exclude.inbound_ports)},
            {"text", exclude.to_string()}};
}

// The daemon's own, as if it were one of the others.
struct OwnPodHere {
    control::Pod pod;
    std::uint16_t port;
    std::string why;
};

std::optional<OwnPodHere> own_pod_of(const Inspected& node) {
    auto own = node.own_pod ? node.own_pod->view() : std::nullopt;
    if (!own) return std::nullopt;
    control::Pod pod{.uid = own->who.uid,
                     .name = own->who.name.substr(own->who.name.find('/') + 1),
                     .identity = own->who.identity,
                     .netns = "the daemon's own",
                     .virtual_interfaces = {},
                     .exclude = {}};
    return OwnPodHere{std::move(pod), own->who.metrics_port, std::move(own->why)};
}

using Uses = std::map<std::string, proxy::PodUse>;

json::value pods(const Inspected& node, const Uses& uses) {
    std::map<state::Identity, std::string> expiry;
    for (const auto& certificate : node.certificates->stats())
        if (!certificate.serial.empty())
            expiry[certificate.identity] =
                rfc3339(std::chrono::time_point_cast<system_clock::duration>(certificate.not_after));
    json::array all;
    auto add = [&](const control::Pod& pod, const std::string& state, const std::string& why, json::value only_port) {
        auto use = uses.find(pod.uid);
        auto expires = expiry.find(pod.identity);
        all.push_back({
            {"uid", pod.uid},
            {"name", pod.name},
            {"namespace", pod.identity.namespace_},
            {"identity", pod.identity.to_string()},
            {"netns", pod.netns},
            {"state", state},
            {"why", why},
            {"exclude", to_json(pod.exclude)},
            {"only_port", std::move(only_port)},
            {"listeners", use == uses.end() ? 0 : use->second.listeners},
            {"connections", use == uses.end() ? 0 : use->second.connections},
            {"certificate_expires", expires == expiry.end() ? json::value{} : json::value(expires->second)},
        });
    };
    for (const auto& one : node.pods->view()) add(one.pod, one.state, one.why, nullptr);
    if (auto own = own_pod_of(node))
        add(own->pod, own->why.empty() ? "in the mesh" : "waiting",
            own->why.empty() ? "" : "metrics cannot be read through the mesh: " + own->why, own->port);
    return {{"pods", all}};
}

// What every worker has said, once the last of them has; on the control thread.
struct Gathering {
    Uses uses;
    std::size_t missing;
};

void ask_pods(const Inspected& node, const Reply& reply) {
    auto all = std::make_shared<Gathering>(Gathering{{}, node.workers.size()});
    for (const auto& worker : node.workers)
        worker->list_pods([node, all, reply](Uses some) {
            boost::asio::post(node.io, [node, all, reply, some = std::move(some)] {
                for (const auto& [uid, use] : some) {
                    all->uses[uid].listeners += use.listeners;
                    all->uses[uid].connections += use.connections;
                }
                if (--all->missing == 0) reply(answer(pods(node, all->uses)));
            });
        });
}

json::value side(const base::SocketAddress& address, const state::WorkloadPtr& workload,
                 const std::optional<state::Identity>& identity) {
    json::value known{{"address", address.to_string()}};
    auto& object = known.as_object();
    object["pod"] = workload ? json::value(workload->namespace_ + "/" + workload->name) : json::value{};
    object["identity"] = identity ? json::value(identity->to_string()) : json::value{};
    return known;
}

json::value to_json(const proxy::LiveConnection& live, std::size_t worker) {
    // The far end of a tunnel is the other's: who asked, and where our own tunnel leads.
    bool outbound = live.direction == telemetry::Direction::outbound;
    auto asked_for = base::SocketAddress::parse(live.target);
    const auto& peer = outbound ? live.destination : live.source;
    return {
        {"direction", std::string{to_string(live.direction)}},
        {"path", live.tunnelled ? "HBONE" : "plaintext"},
        {"source", side(live.source, live.source_workload, live.source_identity)},
        {"destination",
         side(asked_for ? *asked_for : live.destination, live.destination_workload, live.destination_identity)},
        {"service", live.service ? json::value(live.service->hostname) : json::value{}},
        {"tunnel_peer", live.tunnelled ? json::value(peer.to_string()) : json::value{}},
        {"worker", worker},
        {"age_seconds", seconds_since(live.began)},
        {"bytes_sent", live.bytes_sent},
        {"bytes_received", live.bytes_received},
    };
}

// "WORKER:NANOSECONDS": the connections of this worker that began later, and those of the workers after it.
struct Cursor {
    std::size_t worker = 0;
    std::int64_t after_ns = 0;

    std::string to_string() const { return fmt::format("{}:{}", worker, after_ns); }
    static std::optional<Cursor> parse(const std::string& text) {
        Cursor cursor;
        int end = 0;
        if (std::sscanf(text.c_str(), "%zu:%ld%n", &cursor.worker, &cursor.after_ns, &end) != 2) return std::nullopt;
        if (static_cast<std::size_t>(end) != text.size()) return std::nullopt;
        return cursor;
    }
};

void ask_connections(const Inspected& node, const Query& query, const Reply& reply) {
    auto from = Cursor::parse(query.value("from").value_or("0:0"));
    if (!from || from->worker >= node.workers.size())
        return reply(complaint("from= wants what an earlier page called next"));
    proxy::ConnectionQuery wanted{
        .after = steady_clock::time_point{std::chrono::nanoseconds{from->after_ns}},
        .limit = std::clamp<std::size_t>(query.number("limit").value_or(page_size), 1, largest_page),
        .pod = query.value("pod").value_or(""),
    };
    node.workers[from->worker]->list(std::move(wanted), [node, reply, at = *from](proxy::ConnectionPage page) {
        boost::asio::post(node.io, [node, reply, at, page = std::move(page)] {
            json::array all;
            for (const auto& live : page.connections) all.push_back(to_json(live, at.worker));
            json::value next;
            if (page.more) {
                auto last = std::chrono::nanoseconds{page.connections.back().began.time_since_epoch()};
                next = json::value(Cursor{at.worker, last.count()}.to_string());
            } else if (at.worker + 1 < node.workers.size()) {
                next = json::value(Cursor{at.worker + 1, 0}.to_string());
            }
            auto open = sum(node.workers, &telemetry::WorkerCounters::connections_open);
            reply(answer({{"open", open}, {"connections", all}, {"next", next}}));
        });
    });
}

Answer trace(const Inspected& node, const Query& query) {
    const std::string name = query.value("pod").value_or("");
    std::vector<std::string> known;
    std::vector<control::Pod> pods;
    for (const auto& one : node.pods->view()) pods.push_back(one.pod);
    if (auto own = own_pod_of(node)) pods.push_back(own->pod);
    for (const auto& pod : pods) {
        known.push_back(pod.identity.namespace_ + "/" + pod.name);
        if (pod.uid != name && pod.name != name && known.back() != name) continue;
        auto workload = node.mesh.snapshot()->workload_by_uid(pod.uid);
        auto feed = node.tracing.follow(pod, workload ? workload->ips : std::vector<base::IpAddress>{});
        return {200, "application/x-ndjson", "", std::move(feed)};
    }
    return complaint("no pod of this node is called " + name + explain::did_you_mean(name, known));
}

}

admin::AskedRoutes control_routes(const Inspected& node) {
    return {
        {"/status", [node](const Query&, const Reply& reply) { reply(answer(status(node))); }},
        {"/reasons", [node](const Query&, const Reply& reply) { reply(answer(reasons(node))); }},
        {"/explain",
         [node](const Query& query, const Reply& reply) {
             auto told = tell_explanation(node, query);
             reply(told ? answer(*told) : complaint(told.error().to_string()));
         }},
        {"/trace", [node](const Query& query, const Reply& reply) { reply(trace(node, query)); }},
        {"/policies",
         [node](const Query&, const Reply& reply) { reply(answer(tell_policies(node.reloads, node.mesh))); }},
        {"/pods", [node](const Query&, const Reply& reply) { ask_pods(node, reply); }},
        {"/connections", [node](const Query& query, const Reply& reply) { ask_connections(node, query, reply); }},
    };
}

}
