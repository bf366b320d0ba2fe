// SPDX-License-Identifier: Apache-2.0
#include "config_dump.hpp"

#include <openssl/evp.h>

#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include <algorithm>

#include <fmt/chrono.h>

#include <culvert/dump/mesh.hpp>

#include "version.hpp"

namespace culvert::node {
namespace {

namespace json = boost::json;
using std::chrono::system_clock;

constexpr std::size_t page_size = 500;            // a worker's connections wait while it writes one
constexpr std::size_t most_connections = 10'000;  // a page of them takes megabytes

std::string rfc3339(system_clock::time_point time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(system_clock::to_time_t(time)));
}

std::string base64(const std::string& text) {
    std::string coded(4 * ((text.size() + 2) / 3) + 1, '\0');
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    const int size =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(coded.data()), bytes, static_cast<int>(text.size()));
    coded.resize(static_cast<std::size_t>(size));
    return coded;
}

json::array to_json(const std::vector<tls::CertificateText>& certificates) {
    json::array all;
    for (const auto& one : certificates)
        all.push_back({{"pem", base64(one.pem)},
                       {"serialNumber", one.serial},
                       {"validFrom", rfc3339(one.not_before)},
                       {"expirationTime", rfc3339(one.not_after)}});
    return all;
}

json::array certificates(const tls::CertificateManager& manager) {
    auto known = manager.dump();
    std::ranges::sort(known, {}, [](const auto& one) { return one.identity.to_string(); });
    json::array all;
    for (const auto& one : known) {
        json::object entry{{"identity", one.identity.to_string()},
                           {"state", one.state},
                           {"certChain", to_json(one.chain)},
                           {"rootCerts", to_json(one.roots)}};
        if (!one.last_failure.empty()) entry["why"] = one.last_failure;  // it is not renewed, be it still good
        all.push_back(std::move(entry));
    }
    return all;
}

json::object versions_of(const control::ClusterSettings* cluster) {
    return {{"version", version},
            {"gitRevision", commit},
            {"buildProfile", CULVERT_BUILD},
            {"buildStatus", std::string_view{commit}.ends_with("-dirty") ? "Modified" : "Clean"},
            {"rustVersion", "none"},
            {"compiler", CULVERT_COMPILER},
            {"cryptoProvider", "openssl"},
            {"istioVersion", cluster ? cluster->istio_version : "unknown"}};
}

// What the app called: the service's address where it was one, and its port there.
std::string called(const proxy::LiveConnection& live) {
    const auto target = base::SocketAddress::parse(live.target).value_or(live.destination);
    if (!live.service) return target.to_string();
    auto vip = std::ranges::find_if(live.service->vips,
                                    [&](const auto& one) { return one.ip.is_v4() == live.source.ip.is_v4(); });
    auto port = std::ranges::find_if(live.service->ports, [&](const auto& one) { return one.second == target.port; });
    if (vip == live.service->vips.end()) return target.to_string();
    return base::SocketAddress{vip->ip, port == live.service->ports.end() ? target.port : port->first}.to_string();
}

json::object to_json(const proxy::LiveConnection& live) {
    json::object all{{"src", live.source.to_string()}, {"protocol", live.tunnelled ? "HBONE" : "TCP"}};
    if (live.direction == telemetry::Direction::outbound) {
        all["originalDst"] = called(live);
        all["actualDst"] = live.destination.to_string();
    } else {
        all["originalDst"] = live.service ? json::value(live.service->hostname) : json::value(nullptr);
        all["actualDst"] = live.target.empty() ? live.destination.to_string() : live.target;
    }
    return all;
}

// On the control thread: the pods, and connections as the workers tell of them, page by page.
struct Dump {
    Dump(const Dumped& what, std::function<void(json::value)> callback) : dumped{what}, done{std::move(callback)} {}

    void add(const proxy::ConnectionPage& page) {
        for (const auto& live : page.connections) {
            const bool outbound = live.direction == telemetry::Direction::outbound;
            const auto& own = outbound ? live.source_workload : live.destination_workload;
            auto* pod = own ? pods.if_contains(own->uid) : nullptr;
            if (!pod) continue;
            auto& list = pod->at("connections").at(outbound ? "outbound" : "inbound").as_array();
            if (++connections <= most_connections) list.push_back(to_json(live));
        }
    }
    json::value finish();

    const Dumped dumped;
    std::function<void(json::value)> done;
    json::object pods;
    std::size_t connections = 0;
    std::size_t missing = 0;  // workers
};

json::object pods_of(const Pods& pods) {
    json::object all;
    for (const auto& [pod, state, why, closed, dns] : pods.view()) {
        all[pod.uid] = {{"state", state == "in the mesh" ? "Up"
                                  : state == "waiting"   ? "Pending"
                                                         : "Draining"},
                        {"connections", {{"inbound", json::array{}}, {"outbound", json::array{}}}},
                        {"info",
                         {{"name", pod.name},
                          {"namespace", pod.identity.namespace_},
                          {"serviceAccount", pod.identity.service_account},
                          {"trustDomain", pod.identity.trust_domain}}}};
        if (!why.empty()) all[pod.uid].as_object()["why"] = why;
    }
    return all;
}

json::value Dump::finish() {
    const Inspected& node = dumped.node;
    const state::Snapshot nothing{{}, {}};  // before the mesh is known
    const state::Snapshot& mesh = node.mesh.snapshot() ? *node.mesh.snapshot() : nothing;
    std::vector<const policy::Policy*> in_force;
    if (node.mesh.policies())
        for (const auto& named : node.mesh.policies()->policies())
            if (!named->is_awaited && !named->stand_in) in_force.push_back(&named->policy);
    json::object staged;
    if (const auto* aside = node.source.staged())
        for (const auto& [service, endpoints] : *aside) staged[service.to_string()] = dump::endpoints(endpoints);
    json::object from_file{{"workloads", json::array{}}, {"services", json::array{}}, {"policies", json::array{}}};
    if (!dumped.cluster)
        from_file = {{"workloads", dump::workloads(mesh, dump::As::configured)},
                     {"services", dump::services(mesh, dump::As::configured)},
                     {"policies", dump::policies(in_force)}};
    json::object all{{"workloads", dump::workloads(mesh)},
                     {"services", dump::services(mesh)},
                     {"policies", dump::policies(in_force)},
                     {"stagedServices", std::move(staged)},
                     {"staticConfig", std::move(from_file)},
                     {"version", versions_of(dumped.cluster)},
                     {"config", dump_settings(node.config, dumped.cluster)},
                     {"certificates", node.certificates ? certificates(*node.certificates) : json::array{}},
                     {"workloadState", std::move(pods)}};
    if (connections > most_connections) all["connectionsLeftOut"] = connections - most_connections;
    return all;
}

void ask(const std::shared_ptr<Dump>& dump, std::size_t worker, std::chrono::steady_clock::time_point after) {
    dump->dumped.node.workers[worker]->list({.after = after, .limit = page_size}, [dump, worker](auto page) {
        boost::asio::post(dump->dumped.node.io, [dump, worker, page = std::move(page)] {
            dump->add(page);
            if (page.more) return ask(dump, worker, page.connections.back().began);
            if (--dump->missing == 0) dump->done(dump->finish());
        });
    });
}

}

void dump_config(const Dumped& dumped, std::function<void(json::value)> done) {
    auto dump = std::make_shared<Dump>(dumped, std::move(done));
    if (dumped.node.pods) dump->pods = pods_of(*dumped.node.pods);
    if (dumped.node.workers.empty()) return dump->done(dump->finish());
    dump->missing = dumped.node.workers.size();
    for (std::size_t worker = 0; worker < dumped.node.workers.size(); ++worker) ask(dump, worker, {});
}

}
