// SPDX-License-Identifier: Apache-2.0
// Nodes of a cluster: policies, workloads and pods come and go as istiod and Istio's CNI agent tell of them.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>

#include "ctl.hpp"
#include "finally.hpp"
#include "in_cluster.hpp"
#include "kernel_traces.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"

using namespace culvert::test;

namespace {

constexpr const char* once = "what a control plane says means the same in both";

// What the workload of `pod` names from now on.
void name_policies(World& world, const Pod& pod, const std::string& names) {
    world.mesh.workload(pod).policies = names;
    world.reconfigure();
}

// What Prometheus in this pod would read from a node.
HttpAnswer scrape(const Pod& from, const SocketAddress& door) {
    return http_get(from.netns(), door, "/metrics");
}

// The mesh is what it was.
class AsItWas : Finally {
public:
    explicit AsItWas(World& world)
        : Finally{[&world, mesh = world.mesh] {
              world.mesh = mesh;
              world.reconfigure();
          }} {}
};

// Of what is mapped of this library's code, so much is in memory: proc(5), /proc/pid/smaps.
std::size_t code_in_memory(const Node& node, const std::string& library) {
    std::ifstream smaps{"/proc/" + std::to_string(node.pid()) + "/smaps"};
    std::size_t kilobytes = 0;
    bool here = false;
    for (std::string line; std::getline(smaps, line);) {
        if (line.find('-') < line.find(' '))
            here = line.find(" r-xp ") != std::string::npos && line.find(library) != std::string::npos;
        else if (here && line.starts_with("Rss:"))
            kilobytes += std::strtoull(line.c_str() + 4, nullptr, 10);
    }
    return kilobytes * 1024;
}

}

TEST_SUITE("cluster") {

TEST_CASE(
    "cluster: once it is ready, a daemon keeps no code in memory that only its start needs" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    for (Node* node : {&world.one, &world.two})
        CHECK(eventually(5s, [&] { return code_in_memory(*node, "/libyaml-cpp.") == 0; }));
}

TEST_CASE("cluster: a policy refuses the next call and cuts a live one that it forbids, until it is removed" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    Connection forbidden = world.client.dial(world.far.at(Family::v4, 8080));
    Connection other = world.plain2.dial(world.far.at(Family::v4, 8080));
    for (Connection* app : {&forbidden, &other}) REQUIRE(app->echoes("before"));

    put(world, no_client);
    CHECK(forbidden.ending(5s) == "reset");
    CHECK(other.echoes("still there"));
    check_answer(world, world.client, world.far, 8080, denied + "ns/no-client");
    check_answer(world, world.plain2, world.far, 8080, "yes");

    take_away(world, "ns/no-client");
    check_answer(world, world.client, world.far, 8080, "yes");
}

TEST_CASE(
    "cluster: a workload that names a policy of the same push has no call refused meanwhile" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    Load load{world.client, world.far.at(Family::v4, 8080), "allowed all the time"};
    REQUIRE(load.goes_on());
    world.mesh.authorizations = "[" + authorization("together", "WORKLOAD_SELECTOR", "ALLOW", from_client) + "]";
    name_policies(world, world.far, R"("ns/together")");
    check_answer(world, world.plain2, world.far, 8080, not_allowed);
    CHECK(load.goes_on());
    load.stop();
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());
}

TEST_CASE("cluster: a policy that a workload names too long before it comes is no reason to refuse for good" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    name_policies(world, world.far, R"("ns/late")");
    check_answer(world, world.client, world.far, 8080, denied + "ns/late");
    CHECK(world.two.says({"ns/late is named by a workload, and nobody has it: everything is refused"}));
    put(world, authorization("late", "WORKLOAD_SELECTOR", "ALLOW", from_client));
    check_answer(world, world.client, world.far, 8080, "yes");
    check_answer(world, world.plain2, world.far, 8080, not_allowed);
}

TEST_CASE(
    "cluster: of a converted PeerAuthentication that never comes, plaintext is refused and mutual TLS goes on" IPV4
        EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    name_policies(world, world.far, R"("ns/converted_peer_authentication_ports")");
    CHECK(world.two.says({"ns/converted_peer_authentication_ports", "plaintext is refused"}));
    check_answer(world, world.plain2, world.far, 8080, denied + "ns/converted_peer_authentication_ports");
    check_answer(world, world.client, world.far, 8080, "yes");
}

TEST_CASE("cluster: a resource that nobody can read costs only itself, and istiod hears why" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    order(world, "put raw", R"("kind": "Address", "name": "Kubernetes//Pod/ns/broken", "base64": "//8=")");
    CHECK(world.cluster->istiod.says({"\"nack\"", "ns/broken"}));
    put(world, no_client);
    check_answer(world, world.client, world.far, 8080, denied + "ns/no-client");
    take_away(world, "ns/no-client");
    // Half a policy might allow what the whole one denies.
    order(world, "put raw", R"("kind": "Authorization", "name": "ns/broken", "base64": "//8=")");
    check_answer(world, world.client, world.far, 8080, denied + "ns/broken");
    CHECK(total(world.two.metrics(), "culvert_xds_refused_resources_total") >= 1);
}

TEST_CASE("cluster: a pod that the agent takes out leaves without a trace, and may come again" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    IstioCni& agent = world.cluster->agent(1);
    agent.del(world.near);
    CHECK(world.one.says({world.near.name(), "has left the mesh"}));
    CHECK(left_in(world.near) == "");
    CHECK(world.near.dial(world.far.at(Family::v4, 8080)).echoes("as it is"));
    agent.add(world.near, "server");
    CHECK(world.one.says({world.near.name(), "is in the mesh"}));
    put(world, authorization("only-server", "NAMESPACE", "ALLOW",
                             R"("principals": [{"exact": "cluster.local/ns/ns/sa/server"}])"));
    AsItWas at_end{world};
    check_answer(world, world.near, world.far, 8080, "yes");
    check_answer(world, world.client, world.far, 8080, not_allowed);
    CHECK(agent.complaints() == "");
}

TEST_CASE(
    "cluster: a pod made anew under its name stays, when the end of the old one is told late" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    IstioCni& agent = world.cluster->agent(1);
    world.lab.remake_pod(world.near);
    agent.order("add anew near ns server " + world.near.netns_path());
    CHECK(agent.says("add anew: ok"));
    CHECK(world.one.says({world.near.name(), "is in the mesh"}));
    agent.del(world.near);
    CHECK(agent.says("del " + IstioCni::uid(world.near) + ": ok"));
    Server echo{world.near.netns(), 8080, apps::echo};
    put(world, no_client);
    AsItWas at_end{world};
    check_answer(world, world.client, world.near, 8080, denied + "ns/no-client");
    check_answer(world, world.plain1, world.near, 8080, "yes");
    CHECK_FALSE(left_in(world.near) == "");

    agent.add(world.near, "server");  // the same netns by its usual uid: as other cases know it
    CHECK(agent.says("add " + IstioCni::uid(world.near) + ": ok"));
    agent.order("del anew");
    CHECK(agent.says("del anew: ok"));
    CHECK_FALSE(left_in(world.near) == "");
    CHECK(agent.complaints() == "");
}

TEST_CASE("cluster: an old pod that could not join takes nothing from the one that has its name by now" IPV4 EBPF_ONLY(
    once)) {
    World& world = cluster();
    IstioCni& agent = world.cluster->agent(1);
    const std::string no_netns = "add old plain1 ns late /proc/self/ns/uts";
    agent.order(no_netns);
    CHECK(agent.says("add old: error"));
    agent.add(world.plain1, "late");
    CHECK(agent.says("add " + IstioCni::uid(world.plain1) + ": ok"));
    CHECK(world.one.says({world.plain1.name(), "is in the mesh"}));
    agent.order(no_netns);  // as after a new connection; we try by ourselves, too
    CHECK(agent.says("add old: ok"));
    CHECK_FALSE(left_in(world.plain1) == "");
    CHECK(world.one.ready());

    // The end of the one that came last leaves the other.
    agent.order("add last plain1 ns late /proc/self/ns/uts");
    CHECK(agent.says("add last: ok"));  // it joins when the other has left, or would
    CHECK(world.one.says({world.plain1.name(), "has left the mesh"}));
    agent.order("del last");
    CHECK(agent.says("del last: ok"));
    CHECK(world.one.says({world.plain1.name(), "is in the mesh"}));
    agent.order("del old");
    CHECK(agent.says("del old: ok"));
    CHECK_FALSE(left_in(world.plain1) == "");
    agent.del(world.plain1);
    CHECK(world.one.says({world.plain1.name(), "has left the mesh"}));
    CHECK(left_in(world.plain1) == "");
    CHECK(agent.complaints() == "");
}

TEST_CASE("cluster: a workload that istiod removes is no more of the mesh, and is again when it is back" IPV4 EBPF_ONLY(
    once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Server echo{world.far.netns(), 8080, apps::echo};
    check_answer(world, world.client, world.far, 8080, "yes");
    take_away(world, Mesh::uid(world.far));
    CHECK(eventually(
        5s, [&] { return fate(world.client.netns(), {.to = world.vip("far", Family::v4)}, 200ms) == "reset"; }));
    world.reconfigure();
    CHECK(eventually(5s, [&] {
        try {
            return world.client.dial(world.vip("far", Family::v4)).echoes("again");
        } catch (const std::system_error&) {
            return false;
        }
    }));
}

TEST_CASE(
    "cluster: a pod may be handed over before istiod knows it: its first call waits for that" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    AsItWas at_end{world};
    IstioCni& agent = world.cluster->agent(1);
    agent.add(world.plain1, "late");
    CHECK(world.one.says({world.plain1.name(), "is in the mesh"}));
    Connection app = world.plain1.dial(world.far.at(Family::v4, 8080));
    app.send("who am I");
    put(world, no_client);  // another change, which does not tell of it
    take_away(world, "ns/no-client");
    world.mesh.add(Workload{.pod = &world.plain1, .service_account = "late", .enrolled = false});
    world.cluster->istiod.order(R"({"do": "put", "addresses": )" + world.mesh.addresses_json() + "}");
    CHECK(app.receive(8) == "who am I");
    app.close();
    agent.del(world.plain1);
    CHECK(world.one.says({world.plain1.name(), "has left the mesh"}));
}

TEST_CASE("cluster: of a node proxy the mesh reads metrics and nothing else, as its policies allow" BOTH_FAMILIES
              EBPF_ONLY(once)) {
    World& world = cluster();
    AsItWas at_end{world};
    tell_of_node_proxy(world, 2);
    CHECK(world.two.says({"own pod istio-system/ztunnel-2: port 15020 is in the mesh as",
                          "spiffe://cluster.local/ns/istio-system/sa/ztunnel"}));
    const SocketAddress admin{*IpAddress::parse("127.0.0.1"), 15000};
    CHECK(http_get(world.two.netns(), admin, "/config_dump")
              .body.find(R"("ztunnelIdentity": "spiffe://cluster.local/ns/istio-system/sa/ztunnel")") !=
          std::string::npos);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const SocketAddress door = on_node(2, family, 15020);
        const std::string client = world.mesh.identity(world.client);
        const std::vector<std::string> by_client{
            "istio_tcp_connections_opened_total{reporter=\"destination\"", "source_principal=\"" + client + "\"",
            "destination_workload=\"ztunnel\"", "destination_workload_namespace=\"istio-system\"",
            "connection_security_policy=\"mutual_tls\""};
        world.mark();
        CHECK(eventually(5s, [&] {
            return std::ranges::any_of(parse_samples(scrape(world.client, door).body), [&](const auto& sample) {
                return std::ranges::all_of(by_client, [&](const std::string& part) {
                    return sample.first.find(part) != std::string::npos && sample.second > 0;
                });
            });
        }));
        const auto line = world.two.access_log().wait_for(
            {{"direction", "inbound"}, {"dst.hbone_addr", door.to_string()}, {"src.identity", client}});
        CHECK(line["dst.workload"] == "ztunnel-2");
        CHECK(line["dst.identity"] == "spiffe://cluster.local/ns/istio-system/sa/ztunnel");
        CHECK(line["src.workload"] == world.client.name());
        CHECK(line["error"] == "");
        CHECK(scrape(world.plain1, door).status == 200);  // as before

        for (std::uint16_t port : {15021, 15000}) {
            const SocketAddress other = on_node(2, family, port);
            CHECK(fate(world.client.netns(), {.to = other}) == "reset");
            world.one.access_log().wait_for({{"dst.hbone_addr", other.to_string()},
                                             {"direction", "outbound"},
                                             {"error", "http status: 503 Service Unavailable"}});
        }
        world.two.access_log().wait_for({{"direction", "inbound"}, {"error", "attempted recursive call to ourselves"}});
    }
    const SocketAddress door = on_node(2, Family::v4, 15020);
    const auto explained = [&](const Node& node, const std::string& from, const std::string& port) {
        return ask(world, node, {"explain", from, "istio-system/ztunnel-2", port});
    };
    CHECK(explained(world.two, "far", "15020").status == 0);
    CHECK(explained(world.two, "client", "15020").status == 0);
    CHECK(holds(explained(world.two, "client", "15000"), "tunnels to a node proxy of ours lead to port 15020 alone"));
    CHECK(explained(world.two, "client", "15000").status == 4);
    CHECK(holds(ask(world, world.two, {"explain", "ztunnel-2", "far", "80"}), "nothing of a node proxy's own pod"));
    const auto pods = ask_json(world, world.two, {"pods", "--pod", "ztunnel-2"}).at("pods").as_array();
    REQUIRE(pods.size() == 1);
    CHECK(text(pods[0].at("state")) == "in the mesh");
    CHECK(text(pods[0].at("identity")) == "spiffe://cluster.local/ns/istio-system/sa/ztunnel");
    CHECK(pods[0].at("listeners").to_number<int>() > 0);
    CHECK(text(pods[0].at("certificate_expires")).ends_with("Z"));
    CHECK(holds(ask(world, world.two, {"pods"}), "istio-system/ztunnel-2: the daemon's own pod: port 15020 "));
    const std::string events = world.lab.folder() / "trace-own";
    Process trace({ctl(), "--node", name_of(world, world.two), "trace", "ztunnel-2", "-o", "json"}, -1, events);
    const auto traced = [&](const std::string& event) {
        const std::string wanted = "\"event\":\"" + event + "\"";
        return eventually(5s, [&] {
            std::ifstream file{events};
            const std::string said{std::istreambuf_iterator<char>{file}, {}};
            return said.find(wanted) != std::string::npos;
        });
    };
    CHECK(traced("tracing"));
    CHECK(scrape(world.client, door).status == 200);
    CHECK(traced("verdict"));
    std::string policy = no_client;
    put(world, policy.replace(policy.find(R"("ns")"), 4, R"("istio-system")"));
    CHECK(eventually(5s, [&] { return scrape(world.client, door).status == 0; }));
    CHECK(scrape(world.client, door).status == 0);  // the first may have been cut as it came
    world.two.access_log().wait_for({{"direction", "inbound"}, {"error", denied + "istio-system/no-client"}});
    CHECK(scrape(world.near, door).status == 200);
    CHECK(explained(world.two, "client", "15020").status == 4);
    CHECK(explained(world.two, "near", "15020").status == 0);

    const SocketAddress tunnel = on_node(2, Family::v4, 15008);
    CHECK(world.plain1.attempt(tunnel).error == 0);
    must({"ss", "-4", "-Kltn", "sport", "=", ":15008"}, world.two.netns());
    CHECK(world.two.says({"own pod istio-system/ztunnel-2: its listener was shut from outside; it is open again"}));
    CHECK(scrape(world.near, door).status == 200);
    CHECK(scrape(world.near, on_node(2, Family::v6, 15020)).status == 200);
    take_away(world, "Kubernetes//Pod/istio-system/ztunnel-2");
    CHECK(eventually(5s, [&] { return world.plain1.attempt(tunnel).error == ECONNREFUSED; }));
    CHECK_FALSE(holds(ask(world, world.two, {"pods"}), "ztunnel"));
}

TEST_CASE("cluster: a node proxy without its port 15008, or without a certificate, says so and goes on" IPV4 EBPF_ONLY(
    once)) {
    World& world = cluster();
    AsItWas at_end{world};
    Finally anybody{[&] { order(world, "identities", R"("accept": null)"); }};
    Server echo{world.far.netns(), 8080, apps::echo};
    std::optional<Server> taker{std::in_place, world.lab.node_netns(1), std::uint16_t{15008}, apps::echo};
    order(world, "identities",
          fmt::format(R"("accept": ["{}", "{}"])", world.mesh.identity(world.client), world.mesh.identity(world.far)));
    tell_of_node_proxy(world, 1);
    CHECK(world.one.says({"metrics cannot be read through the mesh", "15008: Address already in use", "Trying again"}));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("all the same"));
    const auto taken = ask(world, world.one, {"explain", "client", "ztunnel-1", "15020"});
    CHECK(taken.status == 4);
    CHECK(holds(taken, "nobody takes tunnels to it: listen on 0.0.0.0:15008: Address already in use"));
    CHECK(holds(ask(world, world.one, {"pods"}), "\nmetrics cannot be read through the mesh: listen on 0.0.0.0:15008"));
    taker.reset();
    CHECK(world.one.says({"own pod istio-system/ztunnel-1: port 15020 is in the mesh"}));
    CHECK(world.one.says({"no certificate for spiffe://cluster.local/ns/istio-system/sa/ztunnel yet"}));

    Connection reader = world.client.dial(on_node(1, Family::v4, 15020));
    reader.send("GET /metrics HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n");
    CHECK(eventually(5s, [&] { return total(world.one.metrics(), "culvert_proxy_certificate_waiting") == 1; }));
    order(world, "identities", R"("accept": null)");
    CHECK(reader.receive_all().starts_with("HTTP/1.1 200"));
}

TEST_CASE(
    "cluster: without IPv6 a pod's is refused, never let past, and the rest goes on" BOTH_FAMILIES EBPF_ONLY(once)) {
    World& world = cluster();
    Server far{world.far.netns(), 8080, apps::echo};
    Server own{world.client.netns(), 8080, apps::echo};
    for (const bool ipv6 : {false, true}) {
        CAPTURE(ipv6);
        world.one.signal(SIGTERM);
        REQUIRE(world.one.wait_exit(10s) == 0);
        world.one.set_variable("IPV6_ENABLED", ipv6 ? "true" : "false");
        world.one.start();
        Tap cable{world.lab.node_netns(1), world.client.host_link()};
        CHECK(world.client.attempt(world.far.at(Family::v6, 8080)).error == (ipv6 ? 0 : ECONNREFUSED));
        CHECK_MESSAGE(outside_tunnels(cable.packets()).empty(), Tap::list(outside_tunnels(cable.packets())));
        CHECK(world.plain2.attempt(world.client.at(Family::v6, 8080)).error == (ipv6 ? 0 : ECONNREFUSED));
        if (!ipv6) CHECK((own.guests().empty() && far.guests().empty()));
        const int refused = ipv6 ? 0 : 4;
        const auto six = [](const Pod& pod) { return pod.ip(Family::v6).to_string(); };
        CHECK(ask(world, world.one, {"explain", "client", six(world.far), "8080"}).status == refused);
        CHECK(ask(world, world.one, {"explain", six(world.plain2), six(world.client), "8080"}).status == refused);
        CHECK(ask(world, world.one, {"explain", "client", "far", "8080"}).status == 0);
        CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("as ever"));
        CHECK(world.plain2.dial(world.client.at(Family::v4, 8080)).echoes("as ever"));
    }
}

TEST_CASE(
    "cluster: on demand a first call waits for what istiod says of an address, and is not let past without that" IPV4
        EBPF_ONLY(once)) {
    World& world = cluster();
    Istiod& istiod = world.cluster->istiod;
    Server far{world.far.netns(), 8080, apps::echo};
    Server stranger{world.plain2.netns(), 8080, apps::echo};
    Server other{world.tcp2.netns(), 8080, apps::echo};
    const auto restart = [&](const std::string& on_demand) {
        world.one.signal(SIGTERM);
        REQUIRE(world.one.wait_exit(10s) == 0);
        world.one.set_variable("XDS_ON_DEMAND", on_demand);
        world.one.set_variable("ISTIO_META_DNS_CAPTURE", on_demand == "true" ? "false" : "true");
        world.one.start();
    };
    Finally as_it_was{[&] {
        istiod.resume();
        restart("false");
    }};
    restart("true");
    CHECK(istiod.says({"\"subscribed\"", "\"Address\"", "\"wildcard\": false"}));
    world.mark();
    const std::vector<std::string> why{"explain", "client", world.far.ip(Family::v4).to_string(), "8080"};
    auto said = ask(world, world.one, why);
    CHECK(said.status == 0);
    CHECK(holds(said, "goes to      not known here, istiod has not told who is at /"));
    CHECK(istiod.said({"\"asked\"", "/" + world.far.ip(Family::v4).to_string()}) == 0);
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("by its address"));
    said = ask(world, world.one, why);
    CHECK(holds(said, "by HBONE to " + world.far.at(Family::v4, 15008).to_string()));
    CHECK(istiod.says({"\"asked\"", "/" + world.far.ip(Family::v4).to_string()}));
    CHECK(world.client.dial(world.vip("far", Family::v4)).echoes("by a service"));
    for (int i = 0; i < 2; ++i)
        world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.identity", world.mesh.identity(world.far)}});
    CHECK(world.client.dial(world.plain2.at(Family::v4, 8080)).echoes("to a stranger"));
    // Asked for by one worker or both, and then remembered.
    for (int i = 0; i < 4; ++i) CHECK(world.client.dial(world.plain2.at(Family::v4, 8080)).echoes("again"));
    const auto asked =
        istiod.said({"\"asked\"", "\"/" + world.plain2.ip(Family::v4).to_string() + "\"", "\"back\": []"});
    CHECK(asked >= 1);
    CHECK(asked <= 2);

    istiod.pause();
    world.mark();
    CHECK(fate(world.client.netns(), {.to = world.tcp2.at(Family::v4, 8080), .from = {}, .limit = 10s}) == "reset");
    world.one.access_log().wait_for(
        {{"direction", "outbound"},
         {"error", "istiod has not said who is at /" + world.tcp2.ip(Family::v4).to_string()}});
    CHECK(other.guests().empty());
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("known"));
    CHECK(world.client.dial(world.plain2.at(Family::v4, 8080)).echoes("known before"));
    istiod.resume();
    CHECK(world.client.dial(world.tcp2.at(Family::v4, 8080)).echoes("now"));
    put(world, no_client);
    AsItWas mesh_at_end{world};
    check_answer(world, world.client, world.far, 8080, denied + "ns/no-client");
}

TEST_CASE("cluster: without /sys a start says that it is missing, not that the kernel lacks something" IPV4 EBPF_ONLY(
    "the rules need no BTF")) {
    const Output start =
        run({"unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys && INPOD_UDS=/nowhere exec $0", culvertd()});
    CHECK(start.status == 1);
    CHECK_MESSAGE(holds(start, "/sys is not mounted here"), start.text);
}

TEST_CASE("cluster: a variable that cannot be honoured ends the start with its name" IPV4 NO_CAPTURE) {
    struct Row {
        std::string variable;
        std::string named;
    };
    for (const Row& row : {
             Row{"PROXY_MODE=dedicated", "PROXY_MODE"},
             Row{"FAKE_CA=true", "FAKE_CA"},
             Row{"XDS_ON_DEMAND=true", "XDS_ON_DEMAND"},
             Row{"LOCAL_XDS_PATH=/etc/mesh.yaml", "LOCAL_XDS_PATH"},
             Row{"SECRET_TTL=a while", "SECRET_TTL"},
             Row{"ZTUNNEL_WORKER_THREADS=many", "ZTUNNEL_WORKER_THREADS"},
             Row{"XDS_ADDRESS=", "XDS_ADDRESS"},
             Row{"XDS_ADDRESS=istiod:99999", "XDS_ADDRESS: "},
             Row{"CA_ADDRESS=https://ca:0", "CA_ADDRESS: "},
             Row{"ISTIO_META_OWNER=\xff", "ISTIO_META_OWNER"},
         }) {
        CAPTURE(row.variable);
        const Output start = run({"env", "INPOD_UDS=/nowhere", row.variable, culvertd()});
        CHECK(start.status == 3);
        CHECK_MESSAGE(start.text.find(row.named) != std::string::npos, start.text);
    }
}

}
