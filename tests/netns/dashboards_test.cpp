// SPDX-License-Identifier: Apache-2.0
// What Istio's dashboards ask Prometheus for is on a node's page, and is true.
#include <doctest/doctest.h>

#include <algorithm>
#include <regex>

#include "forger.hpp"
#include "hostile_peer.hpp"
#include "outcome.hpp"
#include "policies.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

using Labels = std::map<std::string, std::string>;

// Names that a control plane gives its workloads, and a file of these tests leaves out.
void name_workloads(World& world) {
    const std::regex head{"(name: (\\S+), namespace: \\S+, serviceAccount: \\S+,) trustDomain"};
    const std::string names = "$1 workloadName: $2, canonicalName: $2, canonicalRevision: v1, trustDomain";
    for (Node* node : {&world.one, &world.two}) {
        node->configure(std::regex_replace(world.mesh.yaml(node->number()), head, names));
        CHECK(node->says({"applied"}));
    }
}

Labels labels_of(const std::string& sample) {
    Labels labels;
    const std::regex one{"(\\w+)=\"([^\"]*)\""};
    for (std::sregex_iterator at{sample.begin(), sample.end(), one}, end; at != end; ++at) labels[(*at)[1]] = (*at)[2];
    return labels;
}

// All samples of the metric with these labels, added up.
double sum(const Samples& samples, const std::string& metric, const Labels& wanted) {
    double all = 0;
    for (const auto& [name, value] : samples) {
        if (!name.starts_with(metric + "{")) continue;
        const Labels labels = labels_of(name);
        auto has = [&labels](const auto& label) {
            auto found = labels.find(label.first);
            return found != labels.end() && found->second == label.second;
        };
        if (std::ranges::all_of(wanted, has)) all += value;
    }
    return all;
}

struct Query {
    std::string metric;
    std::vector<std::string> labels;  // that it selects or groups by, whatever their values
    Labels equal = {};                // that it wants to be so
};

// Of the dashboards Ztunnel, Mesh, Service and Workload, where a node proxy answers them: not what cAdvisor knows (CPU,
// memory), not HTTP, which only waypoints see. The Pod label is Prometheus' own. DNS and xDS are where their parts are.
const std::vector<std::string> to_workload{"destination_workload", "destination_workload_namespace"};
const std::vector<std::string> from_workload{"source_workload", "source_workload_namespace"};
std::vector<std::string> both_and(const std::string& more) {
    std::vector<std::string> all{more};
    all.insert(all.end(), to_workload.begin(), to_workload.end());
    all.insert(all.end(), from_workload.begin(), from_workload.end());
    return all;
}
const Labels mutual{{"connection_security_policy", "mutual_tls"}};
const Labels plain{{"connection_security_policy", "unknown"}};  // asked for as != "mutual_tls"

const std::vector<Query> queries{
    {"istio_build", {"tag"}, {{"component", "ztunnel"}}},
    {"istio_tcp_connections_opened_total", {}},
    {"istio_tcp_connections_closed_total", {}},
    {"istio_tcp_sent_bytes_total", {}},
    {"istio_tcp_received_bytes_total", {}},
    {"istio_tcp_received_bytes_total", both_and("destination_service"), {{"reporter", "source"}}},
    {"istio_tcp_sent_bytes_total", both_and("destination_service"), {{"reporter", "source"}}},
    {"istio_tcp_sent_bytes_total",
     {"destination_service_name", "destination_service_namespace"},
     {{"reporter", "source"}}},
    {"istio_tcp_received_bytes_total", both_and("reporter"), mutual},
    {"istio_tcp_received_bytes_total", both_and("reporter"), plain},
    {"istio_tcp_sent_bytes_total", both_and("reporter"), mutual},
    {"istio_tcp_sent_bytes_total", both_and("reporter"), plain},
    {"istio_tcp_sent_bytes_total",
     both_and("destination_service"),
     {{"reporter", "destination"},
      {"connection_security_policy", "mutual_tls"},
      {"destination_service", "far.ns.svc.cluster.local"}}},
};

constexpr std::string_view words = "twenty-four bytes of it.";

// By its address it is whoever the mesh knows there; `network`: it says that it comes from that one.
void call_as_stranger(World& world, const Pod& from, const std::string& network = "") {
    using namespace h2;
    const Papers papers = Forger{world.lab.folder() / "ca"}.issue();
    HostilePeer peer{from.netns(), world.far.at(Family::v4, 15008)};
    REQUIRE(peer.shake_hands({.papers = &papers}) == "");
    peer.begin_http2();
    std::vector<std::pair<std::string, std::string>> request{
        {":method", "CONNECT"},
        {":authority", world.far.at(Family::v4, 8080).to_string()},
        {"baggage", "k8s.cluster.name=there,k8s.namespace.name=abroad,k8s.deployment.name=shop,service.name=web"}};
    if (!network.empty()) request.push_back({"x-forwarded-network", network});
    peer.send(HEADERS, END_HEADERS | END_STREAM, 1, block(request));
    REQUIRE(peer.next(HEADERS));
}

}

TEST_SUITE("dashboards") {

TEST_CASE("dashboards: each of their queries finds what it asks for" IPV4) {
    World world;
    name_workloads(world);
    Server far{world.far.netns(), 8080, apps::echo};
    Server elsewhere{world.plain2.netns(), 8080, apps::echo};
    for (const auto& target : {world.vip("far", Family::v4), world.plain2.at(Family::v4, 8080)})
        CHECK(world.client.dial(target).echoes(words));
    CHECK(world.plain1.dial(world.far.at(Family::v4, 8080)).echoes(words));
    auto pages = [&world] {
        Samples both = world.one.metrics();
        both.merge(world.two.metrics());
        return both;
    };
    CHECK(eventually(5s, [&] { return total(pages(), "istio_tcp_connections_closed_total") == 4; }));
    const Samples samples = pages();
    for (const Query& query : queries) {
        CAPTURE(query.metric);
        CAPTURE(query.labels);
        const auto answers = std::ranges::any_of(samples, [&query](const auto& sample) {
            if (!sample.first.starts_with(query.metric + "{") || sample.second <= 0) return false;
            Labels labels = labels_of(sample.first);
            return std::ranges::all_of(query.labels, [&](const auto& name) { return labels.contains(name); }) &&
                   std::ranges::all_of(query.equal, [&](const auto& one) { return labels[one.first] == one.second; });
        });
        CHECK(answers);
    }
    CHECK(samples.at("workload_manager_active_proxy_count") == 2);
    CHECK(samples.at("workload_manager_pending_proxy_count") == 0);
    CHECK(samples.at("workload_manager_proxies_started_total") == 2);
}

TEST_CASE("dashboards: both ends of a call count the same bytes, while it lives and afterwards" IPV4) {
    World world;
    name_workloads(world);
    Server far{world.far.netns(), 8080, apps::echo};
    const Labels source{{"reporter", "source"},
                        {"source_workload", "client"},
                        {"source_principal", world.mesh.identity(world.client)},
                        {"destination_workload", "far"},
                        {"destination_workload_namespace", "ns"},
                        {"destination_principal", world.mesh.identity(world.far)},
                        {"destination_service", "far.ns.svc.cluster.local"},
                        {"destination_service_name", "far"},
                        {"request_protocol", "tcp"},
                        {"connection_security_policy", "mutual_tls"}};
    Labels destination = source;
    destination["reporter"] = "destination";
    auto check = [&](const std::string& metric, double wanted) {
        CAPTURE(metric);
        CHECK(eventually(5s, [&] { return sum(world.one.metrics(), metric, source) == wanted; }));
        CHECK(eventually(5s, [&] { return sum(world.two.metrics(), metric, destination) == wanted; }));
    };
    const auto size = static_cast<double>(words.size());
    {
        Connection app = world.client.dial(world.vip("far", Family::v4));
        for (int times = 1; times <= 2; ++times) {
            CHECK(app.echoes(words));
            check("istio_tcp_received_bytes_total", times * size);
            check("istio_tcp_sent_bytes_total", times * size);
        }
        check("istio_tcp_connections_opened_total", 1);
        check("istio_tcp_connections_closed_total", 0);
        CHECK(world.one.metrics().at("istio_tcp_sockets_open{reporter=\"source\"}") == 1);
        CHECK(world.two.metrics().at("istio_tcp_sockets_open{reporter=\"destination\"}") >= 1);
        app.end_sending();
        CHECK(app.receive_all() == "");
    }
    check("istio_tcp_connections_closed_total", 1);
    check("istio_tcp_received_bytes_total", 2 * size);
    check("istio_tcp_sent_bytes_total", 2 * size);
    CHECK(world.one.metrics().at("istio_tcp_sockets_open{reporter=\"source\"}") == 0);
}

TEST_CASE("dashboards: the server's side names the service, by whatever way it was called" IPV4) {
    World world{[](Mesh& mesh) {
        mesh.add(Service{"second", 95, {{80, 8080}}});
        for (Workload& workload : mesh.workloads)
            if (workload.pod->name() == "far") workload.services["second"] = {{80, 8080}};
    }};
    Server far{world.far.netns(), 8080, apps::echo};
    struct Row {
        const char* name;
        const Pod& from;
        SocketAddress to;
        Labels labels;
        std::string service;
    };
    for (const Row& row : {
             Row{"by its VIP", world.client, world.vip("second", Family::v4), mutual, "second"},
             Row{"by the pod's address", world.client, world.far.at(Family::v4, 8080), mutual, "far"},
             Row{"from outside the mesh", world.plain1, world.far.at(Family::v4, 8080), plain, "far"},
         }) {
        CAPTURE(row.name);
        const std::string host = row.service + ".ns.svc.cluster.local";
        Labels labels = row.labels;
        labels.insert({{"reporter", "destination"},
                       {"destination_service", host},
                       {"destination_service_name", row.service},
                       {"destination_service_namespace", "ns"}});
        auto counted = [&] { return sum(world.two.metrics(), "istio_tcp_connections_closed_total", labels); };
        const double before = counted();
        world.two.access_log().mark();
        CHECK(row.from.dial(row.to).echoes(words));
        CHECK(eventually(5s, [&] { return counted() == before + 1; }));
        world.two.access_log().wait_for({{"direction", "inbound"}, {"dst.service", host}});
    }
}

TEST_CASE("dashboards: a client whom the mesh does not know is who its baggage says" IPV4) {
    World world;
    name_workloads(world);
    Server far{world.far.netns(), 8080, apps::echo};
    const Labels stranger{
        {"reporter", "destination"},         {"source_principal", "spiffe://cluster.local/ns/ns/sa/stranger"},
        {"source_workload", "shop"},         {"source_workload_namespace", "abroad"},
        {"source_canonical_service", "web"}, {"source_app", "web"},
        {"source_cluster", "there"},         {"destination_service", "far.ns.svc.cluster.local"}};
    Labels known{stranger};
    known.insert_or_assign("source_workload", "tcp2");
    known.insert_or_assign("source_workload_namespace", "ns");
    for (const char* other : {"source_canonical_service", "source_app", "source_cluster"}) known.erase(other);
    auto opened = [&](const Labels& labels) {
        return sum(world.two.metrics(), "istio_tcp_connections_opened_total", labels);
    };
    call_as_stranger(world, world.plain2);
    CHECK(eventually(5s, [&] { return opened(stranger) == 1; }));
    world.two.access_log().wait_for({{"src.workload", "web"}, {"src.namespace", "abroad"}, {"src.cluster", "there"}});
    call_as_stranger(world, world.tcp2);
    CHECK(eventually(5s, [&] { return opened(known) == 1; }));
    call_as_stranger(world, world.tcp2, "another");
    CHECK(eventually(5s, [&] { return opened(stranger) == 2; }));
    CHECK(opened(known) == 1);
}

TEST_CASE("dashboards: what a policy refuses is opened, closed and failed, whoever refuses it" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Policies policies{world};
    policies.publish(strict, "ns/strict", &world.far);
    auto refused = [&] { return world.plain1.attempt(world.far.at(Family::v4, 8080)).error != 0; };
    if (capture_mode() == "ebpf") {
        CHECK(eventually(5s, refused));
    } else {
        (void)refused();
    }
    const Labels flagged{{"reporter", "destination"}, {"response_flags", "DENY"}};
    CHECK(eventually(5s, [&] {
        const Samples samples = world.two.metrics();
        const double denied = sum(samples, "istio_tcp_connections_failed_total", flagged);
        return denied >= 1 && sum(samples, "istio_tcp_connections_closed_total", flagged) == denied &&
               sum(samples, "istio_tcp_connections_opened_total",
                   {{"reporter", "destination"}, {"response_flags", "-"}}) >= denied;
    }));
}

}
