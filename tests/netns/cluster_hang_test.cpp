// SPDX-License-Identifier: Apache-2.0
// istiod stops where it stands, in the middle of its work: its kernel goes on taking what it is sent, and it answers
// nothing. Half a minute of silence is usual, so finding out takes longer than any other case: this one has a file of
// its own.
#include <doctest/doctest.h>

#include "in_cluster.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"

using namespace culvert::test;

TEST_SUITE("cluster_hang") {

TEST_CASE("cluster hang: an istiod that stops answering is found out, and found again" IPV4 EBPF_ONLY(
    "what a control plane says means the same in both")) {
    World& world = cluster();
    IstioCni& agent = world.cluster->agent(1);
    Server echo{world.far.netns(), 8080, apps::echo};
    Load load{world.client, world.vip("far", Family::v4), "as it was"};
    CHECK(load.goes_on());
    world.cluster->istiod.pause();
    const auto paused = std::chrono::steady_clock::now();

    // It is the CA, too, of which nothing had been asked.
    agent.add(world.plain1, "late");
    CHECK(world.one.says({"no certificate for", "sa/late", "no answer within 10000 ms", "is istiod overloaded?"}, 20s));
    CHECK(is_connected(world.one));

    CHECK(
        world.one.says({"xds", "failed", "no answer to an HTTP/2 PING", "what the mesh was told stays in force"}, 60s));
    CHECK_FALSE(is_connected(world.one));
    const auto silence = std::chrono::duration<double>(std::chrono::steady_clock::now() - paused).count();
    CHECK(age(world.one) > silence - 5);
    CHECK(world.one.ready());
    // The next ones are taken, and get no further.
    CHECK(world.one.says({"xds", "failed", "TLS handshake", "no answer within 10000 ms"}, 20s));
    CHECK(load.goes_on(50));

    world.cluster->istiod.resume();
    CHECK(eventually(20s, [&] { return age(world.one) == 0 && is_connected(world.one); }));
    CHECK(world.one.says({"sa/late has a certificate now"}, 20s));
    agent.del(world.plain1);
    CHECK(load.goes_on());
    load.stop();
    CHECK_MESSAGE(load.failed() == 0, load.first_failure());
    check_follows(world);
}

}
