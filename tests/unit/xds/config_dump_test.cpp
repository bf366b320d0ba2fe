// SPDX-License-Identifier: Apache-2.0
// Our config_dump of the mesh beside the real ztunnel's, after each step of a real istiod: the same keys, the same
// values, the same things left out.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include <culvert/dump/mesh.hpp>
#include <culvert/xds/store.hpp>

#include "recorded.hpp"

using namespace culvert;
using boost::json::array;
using boost::json::object;
using boost::json::value;

namespace {

// By what tells them apart. What the real one does not hold is left out of ours: endpoints that nobody may choose. What
// we do not hold out of theirs: that a service was said to have both families, which ours have unless it is said that
// they have not.
object by_name(array list, const char* first, const char* second) {
    object all;
    for (value& one : list) {
        object& each = one.as_object();
        if (auto* services = each.if_contains("services"))
            std::ranges::sort(services->as_array(), {}, [](const value& name) { return name.as_string(); });
        if (auto* families = each.if_contains("ipFamilies"); families && *families == "Dual") each.erase("ipFamilies");
        const auto* balancer = each.if_contains("loadBalancer");
        const bool all_chosen = balancer && balancer->at("healthPolicy") == "AllowAll";
        if (auto* endpoints = each.if_contains("endpoints"); endpoints && !all_chosen)
            for (auto at = endpoints->as_object().begin(); at != endpoints->as_object().end();)
                at = at->value().at("status") == "Healthy" ? at + 1 : endpoints->as_object().erase(at);
        std::string name{each.at(first).as_string()};
        if (second) name = name + "/" + std::string{each.at(second).as_string()};
        all[name] = std::move(each);
    }
    return all;
}

void check_same(const object& ours, const object& theirs) {
    CHECK(ours.size() == theirs.size());
    for (const auto& [name, their] : theirs) {
        CAPTURE(std::string{name});
        const auto* our = ours.if_contains(name);
        REQUIRE(our);
        const bool same = *our == their;
        CHECK_MESSAGE(same, "ours:\n", dump::pretty(*our), "\ntheirs:\n", dump::pretty(their));
    }
}

}

TEST_SUITE("xds") {

TEST_CASE("config dump: after each step the mesh reads as the real ztunnel's") {
    xds::Conversation conversation{{"ztunnel~1.2.3.4~z.istio-system~istio-system.svc.cluster.local", {}}};
    xds::Store store;
    std::size_t compared = 0;
    for (const recorded::Step& step : recorded::steps_before("90")) {
        CAPTURE(step.name);
        for (const std::string& bytes : step.responses) {
            auto heard = conversation.hear(bytes);
            REQUIRE(heard.has_value());
            store.take(heard->kind, std::move(heard->changed), heard->removed);
        }
        if (step.dump.empty()) continue;
        ++compared;
        object theirs = boost::json::parse(step.dump).as_object();
        const auto mesh = store.mesh();
        check_same(by_name(dump::workloads(*mesh), "uid", nullptr),
                   by_name(theirs.at("workloads").as_array(), "uid", nullptr));
        object their_services = by_name(theirs.at("services").as_array(), "namespace", "hostname");
        // The dump is of another run: of two ServiceEntries of one second istiod preferred the other one.
        for (const char* name : {"ambient-demo/dns.example", "plain/dns.example"})
            if (auto* either = their_services.if_contains(name))
                either->as_object()["canonical"] = std::string_view{name}.starts_with("ambient");
        check_same(by_name(dump::services(*mesh), "namespace", "hostname"), their_services);
        const auto held = store.policies();
        std::vector<const policy::Policy*> policies;
        for (const auto& policy : held) policies.push_back(&policy);
        check_same(by_name(dump::policies(policies), "namespace", "name"),
                   by_name(theirs.at("policies").as_array(), "namespace", "name"));
        object staged;
        for (const auto& [service, endpoints] : store.aside()) staged[service.to_string()] = dump::endpoints(endpoints);
        check_same(staged, theirs.at("stagedServices").as_object());
    }
    CHECK(compared == 50);
}

TEST_CASE("config dump: two of the same mesh are the same text, indented and in order") {
    state::Workload one, other;
    one.uid = "b";
    other.uid = "a";
    other.workload_type = "pod";
    const state::Snapshot mesh{{one, other}, {}};
    const auto text = dump::pretty(dump::workloads(mesh));
    CHECK(text.starts_with("[\n  {\n    \"capacity\": 1,\n    \"clusterId\": \"\",\n"));
    CHECK(text.find("\"uid\": \"a\"") < text.find("\"uid\": \"b\""));
    CHECK(text.find("\"workloadIps\": [],\n    \"workloadType\": \"pod\"\n  },") != std::string::npos);
    CHECK(dump::pretty(array{}) == "[]");
    CHECK(dump::pretty(object{}) == "{}");
}

}
