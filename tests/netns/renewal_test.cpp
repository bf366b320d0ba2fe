// SPDX-License-Identifier: Apache-2.0
// Certificates that live for seconds, so that they are renewed several times while everything is in use.
#include <doctest/doctest.h>

#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

double renewals(const Node& node) {
    return total(node.metrics(), "culvert_certificate_renewals_total");
}
double tunnels(const Node& node) {
    return total(node.metrics(), "culvert_proxy_tunnels_out_opened_total");
}

}

TEST_SUITE("renewal") {

TEST_CASE(
    "renewal: under load no call fails, old tunnels live on and new ones carry the new certificate" BOTH_FAMILIES) {
    World world{[](Mesh& mesh) { mesh.settings.certificate_ttl = "4s"; }};
    Server far{world.far.netns(), 8080, apps::echo};
    Connection open = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(open.echoes("before"));
    const double before = renewals(world.one);
    const double tunnels_before = tunnels(world.one);
    {
        std::vector<std::unique_ptr<Load>> loads;
        for (Family family : families())
            loads.push_back(std::make_unique<Load>(world.client, world.vip("far", family), "renewed meanwhile", 1));
        CHECK(eventually(20s, [&] { return renewals(world.one) >= before + 6 && renewals(world.two) >= 4; }));
        for (auto& load : loads) {
            CHECK(load->goes_on());
            load->stop();
            CHECK_MESSAGE(load->failed() == 0, load->first_failure());
        }
    }
    CHECK(open.echoes("after three lives of a certificate"));
    CHECK(tunnels(world.one) >= tunnels_before + 2);
}

}
