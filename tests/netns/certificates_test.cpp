// SPDX-License-Identifier: Apache-2.0
// Certificates of a CA over the network, which says no, or takes its time: whose pod has one is not held up by it, and
// whose has none yet waits.
#include <doctest/doctest.h>

#include <cstdlib>

#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr Family v4 = Family::v4;
constexpr const char* once = "whose certificate it is does not depend on the capture";

struct UnderIstiod {
    UnderIstiod() { ::setenv("CULVERT_UNDER", "istiod", 1); }
    ~UnderIstiod() { ::unsetenv("CULVERT_UNDER"); }
};

void join(World& world, Pod& pod) {
    world.mesh.add(Workload{.pod = &pod, .service_account = "late"});
    world.reconfigure();
    REQUIRE(world.node_of(pod).says({pod.name(), "is in the mesh"}));
}

bool serves(Pod& from, const SocketAddress& to) {
    try {
        return from.dial(to).echoes("given now");
    } catch (const std::exception&) {
        return false;
    }
}

bool wait_for_one(const Node& node, double connections) {
    return eventually(5s, [&] { return total(node.metrics(), "culvert_proxy_certificate_waiting") == connections; });
}

}

TEST_SUITE("certificates") {

TEST_CASE("certificate: who has none yet waits for the CA, and hears what it says" IPV4 EBPF_ONLY(once)) {
    UnderIstiod under;
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Connection old = world.client.dial(world.far.at(v4, 8080));
    CHECK(old.echoes("before"));

    // The CA does not give it: its pod is not known to istiod yet, say.
    world.cluster->istiod.order(R"({"do": "identities", "accept": []})");
    join(world, world.plain1);
    world.mark();
    Connection refused = world.plain1.dial(world.far.at(v4, 8080));
    CHECK(wait_for_one(world.one, 1));
    CHECK(world.client.dial(world.far.at(v4, 8080)).echoes("not held up"));
    CHECK(refused.ending(12s) == "reset");
    const auto line = world.one.access_log().wait_for({{"src.addr", refused.local().to_string()}});
    CHECK_MESSAGE(line["error"].find("identity error: no certificate for spiffe://cluster.local/ns/ns/sa/late yet: the "
                                     "CA at https://") != std::string::npos,
                  line.raw);
    CHECK_MESSAGE(
        line["error"].find("Unauthenticated: request impersonation authentication failure") != std::string::npos,
        line.raw);
    world.cluster->istiod.order(R"({"do": "identities", "accept": null})");
    CHECK(eventually(20s, [&] { return serves(world.plain1, world.far.at(v4, 8080)); }));

    // The CA takes its time, and calls of the new pod are faster, either way.
    world.cluster->istiod.order(R"({"do": "slow", "part": "ca", "seconds": 3})");
    join(world, world.plain2);
    Server late{world.plain2.netns(), 8080, apps::echo};
    Connection out = world.plain2.dial(world.far.at(v4, 8080));
    Connection in = world.client.dial(world.plain2.at(v4, 8080));
    CHECK(wait_for_one(world.two, 2));
    CHECK(out.echoes("had to wait"));
    CHECK(in.echoes("had to wait as well"));
    CHECK(old.echoes("after"));
}

TEST_CASE("certificate: new roots are asked for as soon as the file with them changes" IPV4 EBPF_ONLY(once)) {
    UnderIstiod under;
    World world;
    const auto renewals = [&] { return total(world.one.metrics(), "culvert_certificate_renewals_total"); };
    REQUIRE(eventually(10s, [&] { return renewals() == 2; }));  // client's and near's
    const std::string roots = world.cluster->istiod.root();
    must({"cp", roots, roots + ".fresh"});
    must({"mv", roots + ".fresh", roots});
    CHECK(world.one.says({"has changed", "asked for again"}, 5s));
    CHECK(eventually(10s, [&] { return renewals() == 4; }));
}

}
