// SPDX-License-Identifier: Apache-2.0
// What culvertctl says of policies: what there is, what they would say, what they say while it happens.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <system_error>

#include "ctl.hpp"
#include "outcome.hpp"
#include "server.hpp"

using namespace culvert::test;
namespace json = boost::json;

namespace {

// Port 8080 is closed to everybody, and a dry run would close 8081 of far's namespace.
const std::string policies =
    "policies:\n"
    "- {name: no-8080, namespace: ns, scope: Global, action: Deny, dryRun: false, rules: [[[{destinationPorts: [1]}]], "
    "[[{destinationPorts: [8080]}]]]}\n"
    "- {name: try, namespace: ns, scope: Namespace, action: Deny, dryRun: true, rules: [[[{destinationPorts: "
    "[8081]}]]]}\n";

// The shared world with these policies, and with an exclusion, as long as this lives.
class Policed {
public:
    Policed() {
        world.mesh.workload(world.client).exclude = "{outboundPorts: [9000]}";
        set(policies);
    }
    ~Policed() {
        try {
            world.mesh.workload(world.client).exclude = "{}";
            set("policies: []\n");
            world.mesh.settings.extra = was_;
        } catch (const std::exception&) {  // the daemon is gone, which its case has told of
        }
    }
    Policed(const Policed&) = delete;

    void write(const std::string& more) {
        world.mesh.settings.extra = was_ + more;
        world.reconfigure();
    }
    World& world = World::shared();

private:
    void set(const std::string& more) {
        write(more);
        for (Node* node : {&world.one, &world.two})
            if (!node->says({"applied"})) throw std::runtime_error("the policies were not applied");
    }
    const std::string was_ = world.mesh.settings.extra;
};

json::value policy(const World& world, const Node& node, const std::string& name) {
    const auto answer = ask_json(world, node, {"policies"});
    for (const auto& each : answer.at("policies").as_array())
        if (text(each.at("name")) == name) return each;
    return {};
}

std::int64_t hits(const World& world, const Node& node, const std::string& name) {
    auto found = policy(world, node, name);
    return found.is_object() ? found.at("hits").to_number<std::int64_t>() : -1;
}

// culvertctl trace, and the events that it has printed.
class Traced {
public:
    Traced(World& world, const Node& node, const std::string& pod)
        : output_{world.lab.folder() / ("trace-" + std::to_string(++count_))},
          process_{{ctl(), "--node", name_of(world, node), "trace", pod, "-o", "json"}, -1, output_} {
        REQUIRE(finds([](const json::value& event) { return text(event.at("event")) == "tracing"; }));
    }
    std::vector<json::value> events() const {
        std::vector<json::value> all;
        std::ifstream file{output_};
        for (std::string line; std::getline(file, line) && !file.eof();) all.push_back(json::parse(line));
        return all;
    }
    bool finds(const std::function<bool(const json::value&)>& wanted) const {
        return eventually(10s, [&] { return std::ranges::any_of(events(), wanted); });
    }
    Process& process() { return process_; }

private:
    static inline int count_ = 0;
    std::string output_;
    Process process_;
};

// By the proxy after it was accepted, or by the kernel before.
bool is_refused(int netns, const SocketAddress& target) {
    try {
        return fate(netns, {.to = target}) == "reset";
    } catch (const std::system_error& failed) {
        return failed.code().value() == ECONNREFUSED;
    }
}

bool is(const json::value& event, const std::string& kind, const std::string& direction) {
    return text(event.at("event")) == kind && event.as_object().contains("direction") &&
           text(event.at("direction")) == direction;
}

}

TEST_SUITE("ctl_policy") {

TEST_CASE("ctl: policies say whom they are about and how often they decided, a dry run as well" IPV4) {
    Policed policed;
    World& w = policed.world;
    Server closed{w.far.netns(), 8080, apps::echo}, open{w.far.netns(), 8081, apps::echo};
    const auto before = hits(w, w.two, "no-8080"), dry_before = hits(w, w.two, "try");
    CHECK(fate(w.client.netns(), {.to = w.far.at(Family::v4, 8080)}) == "reset");
    CHECK(w.client.dial(w.far.at(Family::v4, 8081)).echoes("x"));
    CHECK(eventually(10s, [&] { return hits(w, w.two, "no-8080") == before + 1; }));
    CHECK(hits(w, w.two, "try") == dry_before + 1);
    auto found = policy(w, w.two, "no-8080");
    CHECK(text(found.at("scope")) == "Global");
    CHECK(text(found.at("action")) == "Deny");
    CHECK(found.at("rules").to_number<int>() == 2);
    CHECK(found.at("applies_to").at("count").to_number<std::size_t>() == w.mesh.workloads.size());
    CHECK(policy(w, w.two, "try").at("dry_run").as_bool());
    auto table = ask(w, w.two, {"policies"});
    CHECK(holds(table, "ns/no-8080  Global     Deny    in force"));
    CHECK(holds(table, "ns/try      Namespace  Deny    dry run"));
}

TEST_CASE("ctl: after a file that was refused, the policies are called the last good ones" IPV4) {
    Policed policed;
    World& w = policed.world;
    policed.write(policies +
                  "- {name: bad, namespace: ns, scope: Global, action: Deny, dryRun: false, rules: "
                  "[[[{destinationPorts: [http]}]]]}\n");
    CHECK(w.one.says({"policies[2].rules[0][0][0]", "The last good configuration goes on"}));
    auto table = ask(w, w.one, {"policies"});
    CHECK(holds(table, "Deny    last good"));
    CHECK(holds(table, "policies[2].rules[0][0][0]"));
    policed.write(policies);
    CHECK(eventually(10s, [&] { return holds(ask(w, w.one, {"policies"}), "Deny    in force"); }));
}

TEST_CASE("ctl: pods say what of them bypasses the mesh" IPV4) {
    Policed policed;
    World& w = policed.world;
    auto pods = ask_json(w, w.one, {"pods", "--pod", "client"}).at("pods").as_array();
    REQUIRE(pods.size() == 1);
    CHECK(pods[0].at("exclude").at("outbound_ports").at(0).to_number<int>() == 9000);
    CHECK(holds(ask(w, w.one, {"pods"}), "\nns/client: outbound port 9000 bypasses the mesh\n"));
}

TEST_CASE("ctl: what explain says is what happens" IPV4) {
    Policed policed;
    World& w = policed.world;
    Server one{w.near.netns(), 8080, apps::echo}, two{w.near.netns(), 8081, apps::echo},
        three{w.near.netns(), 9000, apps::echo};
    struct Row {
        std::string from, to, port;
        int source;
        std::uint16_t target;
        int status;
        std::string says;
    };
    for (const Row& row :
         {Row{"ns/client", "ns/near", "8080", w.client.netns(), 8080, 4,
              "no, denied by ns/no-8080, rules[1]: destinationPorts: [8080]"},
          Row{"ns/client", "near", "8081", w.client.netns(), 8081, 0, "yes, none of these denies it: ns/no-8080"},
          Row{"ns/client", "near", "9000", w.client.netns(), 9000, 0, "no, outbound port 9000 bypasses the mesh"},
          Row{"near", "near", "8080", w.near.netns(), 8080, 0, "no proxy stands between a pod and itself"},
          Row{"10.71.1.1", "near", "8080", w.lab.node_netns(1), 8080, 0, "a process of this node calls"},
          Row{w.plain1.ip(Family::v4).to_string(), "near", "8080", w.plain1.netns(), 8080, 4, "in plaintext"}}) {
        CAPTURE(row.from);
        CAPTURE(row.port);
        const auto before = hits(w, w.one, "no-8080");
        auto said = ask(w, w.one, {"explain", row.from, row.to, row.port});
        CAPTURE(said.text);
        CHECK(said.status == row.status);
        CHECK(holds(said, row.says));
        CHECK(hits(w, w.one, "no-8080") == before);
        const SocketAddress target = w.near.at(Family::v4, row.target);
        if (row.status == 4)
            CHECK(is_refused(row.source, target));
        else
            CHECK(Connection::open(row.source, {.to = target}).echoes("x"));
    }
}

TEST_CASE("ctl: explain follows a service, and leaves what another node decides to it" IPV4) {
    Policed policed;
    World& w = policed.world;
    const std::string host = w.mesh.service("both").hostname();
    auto told = ask_json(w, w.one, {"explain", "ns/client", host, "80"}, 4);
    CHECK(text(told.at("destination").at("service")) == host);
    REQUIRE(told.at("endpoints").as_array().size() == 2);
    for (const auto& endpoint : told.at("endpoints").as_array()) {
        const bool near = text(endpoint.at("pod")) == "ns/near";
        CHECK(text(endpoint.at("decided_by")) == (near ? "this node" : "its own node"));
        CHECK(text(endpoint.at("policy")) == "ns/no-8080");
        CHECK(text(endpoint.at("next_hop")) == (near ? w.near : w.far).at(Family::v4, 15008).to_string());
        CHECK(text(endpoint.at("must_be").at(0)) == w.mesh.identity(near ? w.near : w.far));
    }
    auto nobody = ask(w, w.one, {"explain", "ns/clinet", "near", "80"});
    CHECK(nobody.status == 1);
    CHECK(nobody.text == "culvertctl: no workload is called ns/clinet; did you mean ns/client?\n");
    CHECK(ask(w, w.one, {"explain", "client", "near", "http"}).status == 2);
}

TEST_CASE("ctl: trace tells of a call that is refused, on both ends, with the rule" IPV4) {
    Policed policed;
    World& w = policed.world;
    Server closed{w.far.netns(), 8080, apps::echo};
    Traced caller{w, w.one, "client"}, called{w, w.two, "ns/far"};
    CHECK(fate(w.client.netns(), {.to = w.far.at(Family::v4, 8080)}) == "reset");
    CHECK(caller.finds([&](const json::value& event) {
        return is(event, "route", "outbound") && text(event.at("peer")) == w.mesh.identity(w.far) &&
               text(event.at("text")) == "by HBONE to " + w.far.at(Family::v4, 15008).to_string();
    }));
    CHECK(caller.finds([](const json::value& event) {
        return is(event, "end", "outbound") && text(event.at("reason")) == "refused_by_peer" &&
               text(event.at("text")) == "http status: 401 Unauthorized";
    }));
    CHECK(called.finds([&](const json::value& event) {
        return is(event, "verdict", "inbound") && !event.at("good").as_bool() &&
               text(event.at("peer")) == w.mesh.identity(w.client) &&
               text(event.at("text")) == "denied by ns/no-8080, rules[1]: destinationPorts: [8080]" &&
               text(event.at("destination").at("address")) == w.far.at(Family::v4, 8080).to_string();
    }));
    CHECK(called.finds(
        [](const json::value& event) { return is(event, "end", "inbound") && text(event.at("reason")) == "denied"; }));
    caller.process().signal(SIGINT);
    CHECK(caller.process().wait(5s) == 0);
}

TEST_CASE("ctl: trace tells of one pod alone, of calls in plaintext, and of those that are cut" IPV4) {
    Policed policed;
    World& w = policed.world;
    Server near{w.near.netns(), 8081, apps::echo}, far{w.far.netns(), 8081, apps::echo};
    Traced traced{w, w.one, "near"};
    CHECK(w.client.dial(w.far.at(Family::v4, 8081)).echoes("x"));
    {
        Connection app = w.plain1.dial(w.near.at(Family::v4, 8081));
        CHECK(app.echoes("x"));
        CHECK(traced.finds([](const json::value& event) {
            return is(event, "verdict", "inbound") && event.at("good").as_bool() && event.at("peer").is_null();
        }));
    }
    CHECK(traced.finds([](const json::value& event) {
        return is(event, "end", "inbound") && event.at("good").as_bool() &&
               event.at("bytes_received").to_number<int>() == 1;
    }));
    // In one capture the kernel has refused it before there was anything to accept.
    Server closed{w.near.netns(), 8080, apps::echo};
    CHECK(is_refused(w.plain1.netns(), w.near.at(Family::v4, 8080)));
    CHECK(traced.finds([](const json::value& event) {
        return is(event, capture_mode() == "ebpf" ? "refused" : "verdict", "inbound") && !event.at("good").as_bool() &&
               text(event.at("text")) == "denied by ns/no-8080, rules[1]: destinationPorts: [8080]";
    }));
    for (const auto& event : traced.events())
        if (event.as_object().contains("direction")) CHECK(text(event.at("destination").at("pod")) == "ns/near");
}

TEST_CASE("ctl: trace ends with the daemon, and wants a pod that is there" IPV4) {
    Policed policed;
    World& w = policed.world;
    auto nobody = ask(w, w.one, {"trace", "cleint"});
    CHECK(nobody.status == 1);
    CHECK(nobody.text == "culvertctl: no pod of this node is called cleint; did you mean ns/client?\n");
    Traced traced{w, w.two, "far"};
    w.two.signal(SIGTERM);
    CHECK(w.two.wait_exit(10s) == 0);
    CHECK(traced.process().wait(5s) == 0);
    w.two.start();
}

}
