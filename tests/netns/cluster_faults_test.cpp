// SPDX-License-Identifier: Apache-2.0
// What may be wrong with a cluster's istiod, with its CA, with Istio's CNI agent. The mesh goes on with what it knows,
// and whoever looks finds out why it knows no more. docs/DEBUGGING.md has a row for each.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <thread>

#include "ctl.hpp"
#include "finally.hpp"
#include "in_cluster.hpp"
#include "kernel_traces.hpp"
#include "load.hpp"
#include "metrics.hpp"
#include "outcome.hpp"
#include "server.hpp"

using namespace culvert::test;

namespace {

constexpr const char* once = "what a control plane says means the same in both";
constexpr const char* no_state = "500 not ready, pending: state manager";

std::string words_of_istiod(World& world) {
    return world.lab.folder() / "token";
}
void write_file(const std::string& path, const std::string& text) {
    std::ofstream{path + ".fresh"} << text;
    std::filesystem::rename(path + ".fresh", path);
}

struct Certificate {
    std::string state, why, until;
};
// As config_dump has it.
Certificate certificate_of(const Node& node, const std::string& account) {
    const SocketAddress door{*IpAddress::parse("127.0.0.1"), 15000};
    const auto dump = boost::json::parse(http_get(node.netns(), door, "/config_dump").body);
    for (const auto& each : dump.at("certificates").as_array()) {
        const auto& one = each.as_object();
        if (!text(one.at("identity")).ends_with("/sa/" + account)) continue;
        const auto& chain = one.at("certChain").as_array();
        std::string until = chain.empty() ? "" : text(chain.front().at("expirationTime"));  // 2030-01-02T03:04:05Z
        if (!until.empty()) until = until.substr(0, 10) + " " + until.substr(11, 8);
        return {text(one.at("state")), one.contains("why") ? text(one.at("why")) : "", until};
    }
    return {};
}

bool says_error(Node& node, const std::string& error) {
    return std::ranges::any_of(node.access_log().since_mark(),
                               [&](const auto& line) { return line["error"] == error; });
}
std::string error_of(Node& node, const Connection& app) {
    return node.access_log().wait_for({{"src.addr", app.local().to_string()}})["error"];
}

// A port of the node behind which istiod's is: it may be taken away, and be back.
class Relay {
public:
    Relay(int netns, const SocketAddress& to, std::uint16_t port)
        : server_{netns, port, [netns, to](Connection& here) {
                      Connection there = Connection::open(netns, {.to = to});
                      std::thread back{[&] { pump(there, here); }};
                      pump(here, there);
                      back.join();
                  }} {}

private:
    static void pump(Connection& from, Connection& to) {
        try {
            from.limit(10min);
            for (std::string bytes; !(bytes = from.receive_some()).empty();) to.send(bytes);
        } catch (const std::exception&) {  // one end is gone, and so is the other
        }
        for (Connection* each : {&from, &to}) ::shutdown(each->fd(), SHUT_RDWR);
    }

    Server server_;
};

}

TEST_SUITE("cluster_faults") {

TEST_CASE("cluster faults: without istiod a node that starts is not ready, says why, and keeps its pods closed" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    const SocketAddress target = world.far.at(Family::v4, 8080);
    world.one.kill9();
    order(world, "away");
    world.one.launch();
    CHECK(world.one.says({"xds", "connection 1 to https://10.71.1.1:15012 failed", "is istiod running?"}));
    CHECK(world.one.readiness().find(no_state) == 0);
    CHECK(world.one.readiness().find("workload proxy manager") != std::string::npos);
    CHECK(world.client.attempt(target).error == EHOSTUNREACH);
    const auto dump = http_get(world.one.netns(), {*IpAddress::parse("127.0.0.1"), 15000}, "/config_dump");
    CHECK(dump.status == 200);
    CHECK(dump.body.find("https://10.71.1.1:15012") != std::string::npos);
    order(world, "back");
    world.one.wait_until_ready();
    CHECK(world.client.dial(target).echoes("it has come"));
}

TEST_CASE("cluster faults: a port that somebody else has is said once, and tried for more and more seldom" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    world.one.kill9();
    {
        Server taken{world.one.netns(), 15020, apps::echo};
        world.one.launch();
        CHECK(world.one.says({"trying until it works", "15020"}));
        CHECK(world.one.says({"the next try comes in 400 ms"}));
        CHECK_FALSE(world.one.says({"trying until it works"}, 0ms));
    }
    world.one.wait_until_ready();
}

TEST_CASE(
    "cluster faults: without istiod a node goes on with what it knows, and says how old that is" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    Load load{world.client, world.vip("far", Family::v4), "as it was"};
    order(world, "away");
    CHECK(eventually(5s, [&] { return age(world.one) > 0 && !is_connected(world.one); }));
    const double then = age(world.one);
    CHECK(load.goes_on(100));
    CHECK(age(world.one) > then);
    CHECK(world.one.ready());
    CHECK(world.one.says({"xds", "what the mesh was told stays in force"}));
    order(world, "back");
    const std::string known = std::to_string(world.mesh.workloads.size() + world.mesh.services.size());
    CHECK(world.cluster->istiod.says({"\"subscribed\"", "\"Address\"", "\"versions\": " + known}, 15s));
    CHECK(eventually(15s, [&] { return age(world.one) == 0 && is_connected(world.one); }));
    CHECK(load.goes_on());
    load.stop();
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());
    check_follows(world);
}

TEST_CASE("cluster faults: what an istiod with an empty cache no longer knows is gone, until it knows it again" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    const SocketAddress target = world.far.at(Family::v4, 8080);
    const std::string unknown_pod =
        "failed to fetch information about local workload: " + Mesh::uid(world.client) + ": istiod has not told of it";
    const auto known = world.mesh.workloads.size() + world.mesh.services.size();
    order(world, "away");
    order(world, "mesh");
    order(world, "back");
    CHECK(world.one.says({"received response", "workload.Address", "removes=" + std::to_string(known)}));
    // Workers hear of it a moment later, and the nodes one after the other.
    CHECK(eventually(20s, [&] {
        world.mark();
        return fate(world.client.netns(), {.to = target}) == "reset" && says_error(world.one, unknown_pod);
    }));
    world.reconfigure();
    CHECK(eventually(10s, [&] { return answer(world, world.client, world.far, 8080) == "yes"; }));
}

TEST_CASE(
    "cluster faults: an istiod that hangs or is slow delays what it tells, and nothing else" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    const SocketAddress target = world.far.at(Family::v4, 8080);
    {
        Load load{world.client, target, "at its own pace"};
        order(world, "slow", R"("seconds": 0.5)");
        put(world, no_client);
        CHECK(load.goes_on(5));
        take_away(world, "ns/no-client");
    }
    world.one.kill9();
    world.one.launch();
    world.one.wait_until_ready();
    order(world, "slow", R"("seconds": 0)");
    check_follows(world);

    world.one.kill9();
    world.cluster->istiod.pause();
    world.one.launch();
    CHECK(world.one.says({"starts as node"}));
    CHECK(eventually(5s, [&] { return world.one.readiness().find(no_state) == 0; }));
    CHECK_FALSE(eventually(500ms, [&] { return world.one.ready(); }));
    world.cluster->istiod.resume();
    world.one.wait_until_ready();
    CHECK(world.client.dial(target).echoes("it goes on"));
}

TEST_CASE("cluster faults: an istiod that ends its streams for their age loses nothing by it" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    const std::string no_server = authorization("no-server", "NAMESPACE", "DENY",
                                                R"("principals": [{"exact": "cluster.local/ns/ns/sa/server"}])");
    const std::string known = std::to_string(world.mesh.workloads.size() + world.mesh.services.size());
    const auto begun = [&] {
        return world.cluster->istiod.said({"\"subscribed\"", "\"Address\"", "\"versions\": " + known});
    };
    Server echo{world.far.netns(), 8080, apps::echo};
    Load load{world.client, world.vip("far", Family::v4), "undisturbed"};
    const double errors = world.one.metrics()["istio_xds_connection_terminations_total{reason=\"Error\"}"];
    order(world, "back", R"("max_age": 1)");
    CHECK(world.one.says({"xds", "ended, as connections do", "received prior goaway: NO_ERROR"}, 15s));
    // Each change is told on whatever stream there is, one at its end among them.
    const auto before = begun();
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (begun() < before + 4 && std::chrono::steady_clock::now() < end) {
        put(world, no_server);
        check_answer(world, world.near, world.far, 8080, denied + "ns/no-server");
        take_away(world, "ns/no-server");
        check_answer(world, world.near, world.far, 8080, "yes");
    }
    CHECK(begun() >= before + 4);
    order(world, "back");
    CHECK(eventually(15s, [&] { return is_connected(world.one) && is_connected(world.two); }));
    CHECK(world.one.metrics()["istio_xds_connection_terminations_total{reason=\"Error\"}"] == errors);
    CHECK(load.goes_on());
    load.stop();
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());
    check_follows(world);
}

TEST_CASE("cluster faults: garbage ends a stream or is refused, and changes nothing" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    struct Row {
        std::string what;
        std::vector<std::string> said;
    };
    for (const Row& row : {Row{"bytes", {"xds", "failed"}}, Row{"no nonce", {"xds", "failed"}},
                           Row{"unknown kind", {"protobuf.Any", "refused", "not asked for"}},
                           Row{"unreadable resource", {"nonsense", "refused"}}}) {
        CAPTURE(row.what);
        Load load{world.client, world.vip("far", Family::v4), "undisturbed"};
        order(world, "garbage", R"("what": ")" + row.what + "\"");
        CHECK(world.one.says(row.said));
        CHECK(eventually(15s, [&] { return is_connected(world.one) && is_connected(world.two); }));
        CHECK(load.goes_on());
        load.stop();
        CHECK_MESSAGE(load.failed() == 0, load.first_failure());
    }
    check_follows(world);
}

TEST_CASE(
    "cluster faults: a token that istiod refuses is named, and a fresh one needs no restart" IPV4 EBPF_ONLY(once)) {
    World& world = cluster();
    world.one.kill9();
    write_file(words_of_istiod(world), "stale");
    world.one.launch();
    CHECK(world.one.says({"istiod refused our token (the one in " + words_of_istiod(world) + ")", "istio-ca"}));
    CHECK(world.one.readiness().find(no_state) == 0);
    write_file(words_of_istiod(world), "good");
    world.one.wait_until_ready();
}

TEST_CASE(
    "cluster faults: an istiod whose certificate is of other roots is not believed, until the roots are right" IPV4
        EBPF_ONLY(once)) {
    World& world = cluster();
    const std::string roots = world.lab.folder() / "roots.pem";
    must({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
          "/dev/null", "-subj", "/O=somebody", "-out", roots});
    world.one.kill9();
    world.one.set_variable("XDS_ROOT_CA", roots);
    world.one.launch();
    CHECK(world.one.says({"xds", "failed", roots}));
    CHECK(world.one.readiness().find(no_state) == 0);
    std::filesystem::copy_file(world.cluster->istiod.root(), roots, std::filesystem::copy_options::overwrite_existing);
    world.one.wait_until_ready();
    CHECK(eventually(5s, [&] { return is_connected(world.one); }));
}

TEST_CASE("cluster faults: without the agent pods go on; when it is back, those that it names are the node's" IPV4
              EBPF_ONLY(once)) {
    World& world = cluster();
    Server echo{world.far.netns(), 8080, apps::echo};
    IstioCni& agent = world.cluster->agent(1);
    Load load{world.client, world.vip("far", Family::v4), "undisturbed"};
    agent.order("close");
    CHECK(eventually(
        5s, [&] { return world.one.readiness().find("500 not ready, pending: workload proxy manager") == 0; }));
    CHECK(world.one.says({"process stream ended", "Trying again"}));
    CHECK(load.goes_on(50));
    agent.del(world.near);
    agent.add(world.plain1, "late");
    agent.order("open");
    CHECK(world.one.says({world.plain1.name(), "is in the mesh"}, 20s));
    CHECK(world.one.says({world.near.name(), "has left the mesh"}));
    CHECK(eventually(5s, [&] { return world.one.ready(); }));
    CHECK(left_in(world.near) == "");

    agent.del(world.plain1);
    CHECK(world.one.says({world.plain1.name(), "has left the mesh"}));
    agent.add(world.near, "server");
    CHECK(world.one.says({world.near.name(), "is in the mesh"}));
    CHECK(load.goes_on());
    load.stop();
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());
    CHECK(agent.complaints() == "");
}

TEST_CASE(
    "cluster faults: without a CA connections wait for it; certificates are renewed under load" IPV4 EBPF_ONLY(once)) {
    World world{[](Mesh& mesh) { mesh.settings.certificate_ttl = "4s"; }, true};
    Server echo{world.far.netns(), 8080, apps::echo};
    const SocketAddress target = world.far.at(Family::v4, 8080);
    const SocketAddress istiod{*IpAddress::parse("10.71.1.1"), 15012};
    world.one.kill9();
    world.one.set_variable("CA_ADDRESS", "https://10.71.1.1:15013");
    world.one.start();
    CHECK(world.one.says({"tls", "no certificate for", "the CA at https://10.71.1.1:15013", "is istiod running?"}));
    Connection waits = world.client.dial(target);
    waits.send("whenever it comes");
    std::optional<Relay> ca{std::in_place, world.lab.node_netns(1), istiod, std::uint16_t{15013}};
    waits.limit(15s);
    CHECK(waits.receive(17) == "whenever it comes");

    const auto renewals = [&] { return total(world.one.metrics(), "culvert_certificate_renewals_total"); };
    Load load{world.client, target, "renewed meanwhile"};
    const double before = renewals();
    CHECK(eventually(20s, [&] { return renewals() >= before + 6; }));
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());

    load.stop();

    ca.reset();
    CHECK(world.one.says({"tls", "/sa/client was not renewed", "the one in use is good until"}));
    CHECK(world.client.dial(target).echoes("as long as it is good"));
    const auto good = certificate_of(world.one, "client");
    CHECK(good.state == "Available");
    CHECK_MESSAGE(good.why.find("the CA at https://10.71.1.1:15013") != std::string::npos, good.why);
    CHECK(total(world.one.metrics(), "culvert_certificate_failures_total") > 0);
    CHECK(world.one.says({"tls", "/sa/client was not renewed", "the one in use expired at"}, 10s));
    CHECK_MESSAGE(certificate_of(world.one, "client").state.find("Unavailable: the CA at https://10.71.1.1:15013") == 0,
                  certificate_of(world.one, "client").state);

    world.mesh.add(Workload{.pod = &world.plain1, .service_account = "late"});
    world.reconfigure();
    REQUIRE(world.one.says({world.plain1.name(), "is in the mesh"}));
    world.mark();
    Connection late = world.plain1.dial(target);
    Connection expired = world.client.dial(target);
    CHECK(late.ending(15s) == "reset");
    CHECK(expired.ending(15s) == "reset");
    const std::string by_late = error_of(world.one, late);
    CHECK_MESSAGE(
        by_late.find("no certificate for spiffe://cluster.local/ns/ns/sa/late yet: the CA at https://10.71.1.1:"
                     "15013") != std::string::npos,
        by_late);
    const std::string by_client = error_of(world.one, expired);
    CHECK_MESSAGE(by_client.find("the certificate of spiffe://cluster.local/ns/ns/sa/client expired at " +
                                 good.until) != std::string::npos,
                  by_client);

    ca.emplace(world.lab.node_netns(1), istiod, std::uint16_t{15013});
    for (const Pod* pod : {&world.client, &world.plain1})
        CHECK(eventually(30s, [&] { return answer(world, *pod, world.far, 8080) == "yes"; }));
    CHECK(certificate_of(world.one, "client").why == "");
}

}
