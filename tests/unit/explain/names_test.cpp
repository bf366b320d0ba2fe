// SPDX-License-Identifier: Apache-2.0
#include <culvert/explain/names.hpp>

#include <doctest/doctest.h>

#include "state/world.hpp"

using namespace culvert;
using namespace culvert::explain;

namespace {

state::Snapshot mesh() {
    auto shop = state::pod("shop", {"10.0.0.1", "fd00::1"});
    auto web = state::pod("web", {"10.0.0.2"});
    auto other = state::with(state::pod("web", {"10.0.0.3"}), [](auto& w) {
        w.namespace_ = "other";
        w.uid = "other-web";
    });
    return state::Snapshot{{shop, web, other}, {state::service("api", {state::at("10.96.0.1"), state::at("fd96::1")})}};
}

std::string failure(const base::Result<Party>& found) {
    REQUIRE(found.has_error());
    return found.error().to_string();
}

}

TEST_SUITE("explain") {

TEST_CASE("names: a workload is found by uid, namespace/name, name and address, an unknown address is nobody's") {
    const auto all = mesh();
    for (const char* name : {"Kubernetes//Pod/bench/shop", "bench/shop", "shop", "10.0.0.1", "fd00::1"}) {
        CAPTURE(name);
        for (auto find : {find_source, find_destination}) {
            auto found = find(all, "", name);
            REQUIRE(found.has_value());
            REQUIRE(found->workload);
            CHECK(found->workload->name == "shop");
        }
    }
    auto nobody = find_source(all, "", "192.0.2.1");
    REQUIRE(nobody.has_value());
    CHECK_FALSE(nobody->workload);
}

TEST_CASE("names: a service is found by each of its names, as a destination alone") {
    const auto all = mesh();
    for (const char* name : {"api.bench.svc.cluster.local", "bench/api.bench.svc.cluster.local", "bench/api", "api"}) {
        CAPTURE(name);
        auto found = find_destination(all, "", name);
        REQUIRE(found.has_value());
        REQUIRE(found->service);
        CHECK(found->ips.size() == 2);
        CHECK(find_source(all, "", name).has_error());
    }
    CHECK(failure(find_destination(all, "elsewhere", "api")) ==
          "api.bench.svc.cluster.local has no address of its own here: name one of its workloads instead");
}

TEST_CASE("names: one that is not there is answered with those that resemble it") {
    const auto all = mesh();
    CHECK(failure(find_source(all, "", "shpo")) == "no workload is called shpo; did you mean bench/shop?");
    CHECK(failure(find_source(all, "", "bnch/shop")) == "no workload is called bnch/shop; did you mean bench/shop?");
    CHECK(failure(find_destination(all, "", "api.bench")) ==
          "no workload and no service is called api.bench; did you mean api.bench.svc.cluster.local?");
    CHECK(failure(find_source(all, "", "utterly-unlike")) == "no workload is called utterly-unlike");
    CHECK(failure(find_source(all, "", "web")) ==
          "several are called web, bench/web and other/web among them: say which by namespace/name, uid or address");
}

TEST_CASE("names: both ends get addresses of one family, the source's first if it can be") {
    auto ips = [](std::vector<std::string_view> texts) {
        Party party;
        for (auto text : texts) party.ips.push_back(state::ip(text));
        return party;
    };
    auto both = common_family(ips({"10.0.0.1", "fd00::1"}), ips({"fd00::2", "10.0.0.2"}));
    REQUIRE(both);
    CHECK(both->destination == state::ip("10.0.0.2"));
    auto six = common_family(ips({"10.0.0.1", "fd00::1"}), ips({"fd00::2"}));
    REQUIRE(six);
    CHECK(six->source == state::ip("fd00::1"));
    CHECK_FALSE(common_family(ips({"10.0.0.1"}), ips({"fd00::2"})));
}

}
