// SPDX-License-Identifier: Apache-2.0
// Streams that begin: what a real istiod answered to, and what the real ztunnel said.
#include <doctest/doctest.h>

#include <culvert/policy/awaited.hpp>

#include "mesh_form.hpp"
#include "recorded.hpp"
#include "say.hpp"

using namespace culvert;
using recorded::meaning;

namespace {

xds::Node node_of(const recorded::Request& request) {
    xds::Node node{request.node().id(), {}};
    for (const auto& [key, value] : request.node().metadata().fields()) node.metadata[key] = value.string_value();
    return node;
}

struct Client {
    explicit Client(const recorded::Step& step, xds::Interest interest = xds::Interest::everything)
        : conversation{node_of(step.requests.at(0)), interest} {}

    xds::Heard hear(const std::string& response) {
        auto heard = conversation.hear(response);
        REQUIRE(heard.has_value());
        store.take(heard->kind, heard->changed, heard->removed);
        return std::move(*heard);
    }
    std::vector<xds::Heard> hear(const recorded::Step& step) {
        std::vector<xds::Heard> all;
        for (const std::string& bytes : step.responses) all.push_back(hear(bytes));
        return all;
    }
    void check_first_requests(const recorded::Step& step, std::size_t count) {
        auto first = conversation.begin();
        REQUIRE(first.size() >= count);
        for (std::size_t i = 0; i < count; ++i)
            CHECK(meaning(recorded::request(first[i])) == meaning(step.requests.at(i)));
    }

    xds::Conversation conversation;
    xds::Store store;
};

// One line each; nothing where the meshes are the same.
std::string differences(const xds::Store& ours, const boost::json::object& theirs) {
    std::string lines;
    for (const auto& each : mesh_form::compare(mesh_form::of(ours), theirs))
        lines += each.path + ": " + each.ours + ", " + each.theirs + "\n";
    return lines;
}

recorded::Step with(recorded::Step step, std::size_t response, auto change) {
    auto message = recorded::response(step.responses.at(response));
    change(message);
    step.responses[response] = recorded::bytes_of(message);
    return step;
}

}

TEST_SUITE("xds") {

TEST_CASE("stream: the first requests are the real ztunnel's, and so are their answers' acknowledgements") {
    for (const char* name : {"ztunnel-first", "00-base"}) {
        auto step = recorded::step(name);
        Client client{step};
        client.check_first_requests(step, 2);
    }
    auto step = recorded::step("00-base");
    Client client{step};
    CHECK(!client.conversation.ready());
    auto heard = client.hear(step);
    CHECK(meaning(recorded::request(heard.at(0).request)) == meaning(step.requests.at(2)));
    CHECK(meaning(recorded::request(heard.at(1).request)) == meaning(step.requests.at(3)));
    CHECK(client.conversation.ready());
}

// istiod ends streams by their age (max_age), in half an hour's time: routine.
TEST_CASE("stream: one that ended by age is begun anew with what is held, and nothing changes") {
    auto full = recorded::step("90-reconnect-full");
    Client client{full};
    client.hear(full);
    CHECK(client.conversation.held(xds::Kind::address) == 44);
    const auto before = mesh_form::of(client.store);

    auto again = recorded::step("91-reconnect-with-versions");
    client.check_first_requests(again, 2);
    CHECK(client.conversation.ready());
    for (const auto& heard : client.hear(again)) CHECK(heard.changes_nothing());
    CHECK(client.conversation.held(xds::Kind::address) == 44);
    CHECK(differences(client.store, before) == "");
}

TEST_CASE("stream: a full answer over what 50 steps left comes to the same as over nothing") {
    auto full = recorded::step("90-reconnect-full");
    Client client{full};
    for (const auto& step : recorded::steps_before("90")) client.hear(step);
    client.hear(full);
    client.check_first_requests(recorded::step("91-reconnect-with-versions"), 2);

    Client fresh{full};
    fresh.hear(full);
    CHECK(differences(client.store, mesh_form::of(fresh.store)) == "");
}

TEST_CASE("stream: what a reconnect does not list any more is gone, and what changed is told again") {
    auto full = with(recorded::step("90-reconnect-full"), 0, [](auto& response) {
        for (auto& resource : *response.mutable_resources())
            if (resource.name().ends_with("doks-debug-w1") || resource.name().ends_with("doks-debug-cp"))
                resource.set_version("stale");
        say::add(response, say::workload("Kubernetes//Pod/ambient-demo/gone-pod"), "0123456789abcdef");
    });
    full = with(full, 1, [](auto& response) {
        auto gone = say::policy("gone-policy");
        gone.set_namespace_("ambient-demo");
        say::add(response, gone, "");
    });
    Client client{full};
    client.hear(full);

    auto again = recorded::step("92-reconnect-stale");
    client.check_first_requests(again, 2);
    auto heard = client.hear(again);
    CHECK(heard[0].changed.size() == 2);
    CHECK(heard[0].removed == std::vector<std::string>{"Kubernetes//Pod/ambient-demo/gone-pod"});
    CHECK(heard[1].removed == std::vector<std::string>{"ambient-demo/gone-policy"});
    CHECK(client.store.policies().empty());
    Client untouched{full};
    untouched.hear(recorded::step("90-reconnect-full"));
    CHECK(differences(client.store, mesh_form::of(untouched.store)) == "");
}

// Authorizations have no versions, and istiod sends them all on each stream.
TEST_CASE("stream: policies that are told in full again are the same, and a name that lacks is removed by name only") {
    auto base = recorded::step("00-base");
    Client client{base};
    for (const auto& step : recorded::steps_before("23")) client.hear(step);
    auto before = client.store.policies();
    REQUIRE(before.size() > 10);
    auto versions = recorded::request(client.conversation.begin().at(1)).initial_resource_versions();
    CHECK(versions.size() == before.size());
    for (const auto& [name, version] : versions) CHECK(version.empty());

    say::Response all = say::policies("again");
    for (const auto& step : recorded::steps_before("23"))
        for (const auto& bytes : step.responses)
            if (auto said = recorded::response(bytes); said.type_url() == say::policy_type)
                all.mutable_resources()->MergeFrom(said.resources());
    auto heard = client.hear(say::bytes(all));
    CHECK(heard.refused.empty());
    CHECK(client.store.policies() == before);
    CHECK(client.conversation.held(xds::Kind::authorization) == before.size());
}

TEST_CASE("stream: on demand, each question is asked once and answered, but for what is held already") {
    auto step = recorded::step("93-ondemand");
    Client client{step, xds::Interest::on_demand};
    client.check_first_requests(step, 2);
    std::map<std::string, bool> answers;
    std::size_t next = 0;
    for (std::size_t i = 2; i < step.requests.size(); ++i) {
        const auto& theirs = step.requests[i];
        if (!theirs.response_nonce().empty()) {
            auto heard = client.hear(step.responses.at(next++));
            CHECK(meaning(recorded::request(heard.request)) == meaning(theirs));
            for (const auto& answer : heard.answers) answers[answer.name] = answer.found;
            continue;
        }
        for (const std::string& name : theirs.resource_names_subscribe()) {
            auto question = client.conversation.ask(name);
            // istiod says nothing at all to a question for what it has told: it came along with the VIP.
            if (name == "ambient-demo/httpbin.ambient-demo.svc.cluster.local") {
                CHECK(question.state == xds::Question::State::held);
                continue;
            }
            REQUIRE(question.state == xds::Question::State::sent);
            auto ours = recorded::request(question.request);
            CHECK(ours.type_url() == theirs.type_url());
            CHECK(ours.resource_names_subscribe(0) == name);
            CHECK(client.conversation.ask(name).state == xds::Question::State::waiting);
        }
    }
    CHECK(next == step.responses.size());
    CHECK(client.conversation.waiting().empty());
    CHECK(answers == std::map<std::string, bool>{{"/192.168.246.6", true},
                                                 {"/10.96.157.221", true},
                                                 {"ambient-demo/headless.ambient-demo.svc.cluster.local", true},
                                                 {"Kubernetes//Pod/ambient-demo/doks-debug-cp", true},
                                                 {"/192.168.184.70", true},
                                                 {"/8.8.8.8", false},
                                                 {"ambient-demo/nosuch.ambient-demo.svc.cluster.local", false}});

    auto again = recorded::step("94-ondemand-reconnect");
    client.check_first_requests(again, 1);
    for (const auto& heard : client.hear(again)) CHECK(heard.changes_nothing());
}

TEST_CASE("stream: a resource that cannot be read costs only itself, and is refused by name as ztunnel does") {
    const std::string broken = "Kubernetes//Pod/istio-system/ztunnel-cp";
    auto step = with(recorded::step("95-nack"), 0, [&](auto& response) {
        for (auto& resource : *response.mutable_resources())
            if (resource.name() == broken) resource.mutable_resource()->set_value("\xff");
    });
    Client client{step};
    auto heard = client.hear(step);
    auto refusal = recorded::request(heard[0].request);
    CHECK(refusal.error_detail().message() == broken + ": its bytes are no istio.workload.Address");
    refusal.mutable_error_detail()->set_message(broken + ": test rejection");
    CHECK(meaning(refusal) == meaning(step.requests[2]));
    CHECK(meaning(recorded::request(heard[1].request)) == meaning(step.requests[3]));
    CHECK(client.store.workloads() + client.store.services() == 43);
    CHECK(client.conversation.ready());
    // So the next stream tells of it again.
    auto first = recorded::request(client.conversation.begin().at(0));
    CHECK(first.initial_resource_versions_size() == 43);
    CHECK(!first.initial_resource_versions().contains(broken));
}

TEST_CASE("stream: a type that was not asked for is refused, and changes nothing") {
    auto step = recorded::step("96-workload-type");
    Client client{step};
    auto heard = client.hear(step).at(0);
    CHECK(heard.changes_nothing());
    CHECK(recorded::request(heard.request).error_detail().message() ==
          "type.googleapis.com/istio.workload.Workload: this was not asked for");
    CHECK(!client.conversation.ready());
}

// istiod pushes Addresses first: they name a policy that comes with the next response.
TEST_CASE("stream: a policy that a workload names before it comes is waited for, and found when it is there") {
    const auto now = policy::Awaited::Clock::time_point{} + std::chrono::hours{1};
    policy::Awaited awaited;
    auto base = recorded::step("00-base");
    Client client{base};
    auto missing = [&] { return awaited.after(*client.store.mesh(), client.store.policies(), now); };
    client.hear(base);
    CHECK(missing().empty());

    auto step = recorded::step("10-authz-allow-workload");
    REQUIRE(step.responses.size() == 2);
    client.hear(step.responses[0]);
    CHECK(missing() == policy::Names{"ambient-demo/allow-workload"});
    client.hear(step.responses[1]);
    CHECK(missing().empty());
}

// The hole upstream: a converted PeerAuthentication that istiod names and never sends.
TEST_CASE("stream: the one policy that istiod names and never sends is missing in that step alone") {
    Client client{recorded::step("00-base")};
    std::map<std::string, policy::Names> missing;
    for (const auto& step : recorded::steps_before("90")) {
        client.hear(step);
        auto names = policy::Awaited{}.after(*client.store.mesh(), client.store.policies(), {});
        if (!names.empty()) missing[step.name] = names;
    }
    CHECK(missing.size() == 1);
    CHECK(missing["37-peerauth-ports-only-no-mtls"].size() == 1);
}

}
