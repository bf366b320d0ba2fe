// SPDX-License-Identifier: Apache-2.0
#include <culvert/xds/store.hpp>

#include <doctest/doctest.h>

using namespace culvert;
using namespace culvert::state;
using xds::Kind;
using xds::Store;

namespace {

Workload pod(const std::string& uid, std::vector<std::string> behind = {}) {
    Workload w;
    w.uid = uid;
    w.namespace_ = "ns";
    for (auto& host : behind) w.services[{"ns", host}] = {{80, 8080}};
    return w;
}

Service service(const std::string& host) {
    Service s;
    s.namespace_ = "ns";
    s.hostname = host;
    s.ports = {{80, 0}};
    return s;
}

// "a b" behind ns/host.
std::string behind(const Snapshot& mesh, const std::string& host) {
    std::string names = "no such service";
    for (const auto& each : mesh.services()) {
        if (each->hostname != host) continue;
        names.clear();
        for (const Backend& backend : mesh.backends(*each)) names += (names.empty() ? "" : " ") + backend.workload->uid;
    }
    return names;
}

}

TEST_SUITE("xds") {

TEST_CASE("store: endpoints find their service whoever comes first, and again after it was gone") {
    Store store;
    store.take(Kind::address, {pod("a", {"web"})}, {});
    CHECK(store.aside().size() == 1);
    store.take(Kind::address, {service("web"), pod("b", {"web"})}, {});
    CHECK(behind(*store.mesh(), "web") == "a b");
    CHECK(store.aside().empty());
    store.take(Kind::address, {}, {"ns/web"});
    CHECK(behind(*store.mesh(), "web") == "no such service");
    CHECK(store.aside().size() == 1);
    store.take(Kind::address, {pod("a", {"web"})}, {"b"});
    store.take(Kind::address, {service("web")}, {});
    CHECK(behind(*store.mesh(), "web") == "a");
    store.take(Kind::address, {}, {"ns/web", "a"});
    CHECK(store.aside().empty());
}

TEST_CASE("store: a service that is told again keeps its endpoints; one that allows all has the unhealthy, too") {
    Store store;
    Workload sick = pod("sick", {"web"});
    sick.status = Health::unhealthy;
    store.take(Kind::address, {service("web"), sick, pod("well", {"web"})}, {});
    CHECK(behind(*store.mesh(), "web") == "well");
    Service all = service("web");
    all.load_balancer.health_policy = HealthPolicy::allow_all;
    store.take(Kind::address, {all}, {});
    CHECK(behind(*store.mesh(), "web") == "sick well");
    store.take(Kind::address, {service("web")}, {});
    CHECK(behind(*store.mesh(), "web") == "well");
}

TEST_CASE("store: a workload that left a service is not behind it any more") {
    Store store;
    store.take(Kind::address, {service("old"), service("new"), pod("a", {"old"})}, {});
    store.take(Kind::address, {pod("a", {"new"})}, {});
    CHECK(behind(*store.mesh(), "old") == "");
    CHECK(behind(*store.mesh(), "new") == "a");
    store.take(Kind::address, {}, {"a"});
    CHECK(behind(*store.mesh(), "new") == "");
    CHECK(store.workloads() == 0);
}

TEST_CASE("store: a snapshot that was given away does not change") {
    Store store;
    store.take(Kind::address, {service("web"), pod("a", {"web"})}, {});
    auto before = store.mesh();
    store.take(Kind::address, {pod("b", {"web"})}, {"a"});
    CHECK(behind(*before, "web") == "a");
    CHECK(behind(*store.mesh(), "web") == "b");
    CHECK(before->workload_by_uid("a"));
}

TEST_CASE("store: a name that is both removed and told in one response is gone, as with ztunnel") {
    Store store;
    store.take(Kind::address, {pod("a")}, {"a"});
    CHECK(store.workloads() == 0);
}

TEST_CASE("store: what changes nobody's service is shared by the next snapshot") {
    Store store;
    store.take(Kind::address, {service("web"), pod("a", {"web"}), pod("b")}, {});
    auto before = store.mesh();
    store.take(Kind::address, {pod("b")}, {});
    auto after = store.mesh();
    CHECK(before->workload_by_uid("a") == after->workload_by_uid("a"));
    CHECK(before->workload_by_uid("b") != after->workload_by_uid("b"));
    CHECK(before->services()[0] == after->services()[0]);
}

TEST_CASE("store: a policy's name is not a service's, and a name of both a workload and a service is the later one") {
    Store store;
    policy::Policy policy;
    policy.name = "web";
    policy.namespace_ = "ns";
    store.take(Kind::address, {service("web"), pod("a", {"web"})}, {});
    store.take(Kind::authorization, {policy}, {});
    store.take(Kind::authorization, {}, {"ns/web"});
    CHECK(store.policies().empty());
    CHECK(behind(*store.mesh(), "web") == "a");

    store.take(Kind::address, {pod("ns/web")}, {});
    CHECK(store.services() == 0);
    CHECK(store.workloads() == 2);
    store.take(Kind::address, {service("web")}, {});
    CHECK(store.workloads() == 1);
    CHECK(behind(*store.mesh(), "web") == "a");
}

}
