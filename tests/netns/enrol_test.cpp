// SPDX-License-Identifier: Apache-2.0
// The file changes while everything runs: who joins, who leaves, who must not notice.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>

#include "kernel_traces.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

TEST_SUITE("enrol") {

TEST_CASE("enrol: a pod joins and leaves live, and nobody else notices" BOTH_FAMILIES) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "1s"; }};
    Pod& late = world.plain1;
    Server far{world.far.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Server own{late.netns(), 8080, apps::echo};
    Load others{world.client, world.vip("far", Family::v4), "others"};
    world.describe(late);

    world.join(late);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        world.mark();
        Tap cable{world.lab.node_netns(1), late.host_link()};
        Connection app = late.dial(world.far.at(family, 8080));
        CHECK(app.echoes("sealed"));
        CHECK(holding(cable.packets(), "sealed").empty());
        app.close();
        world.two.access_log().wait_for({{"direction", "inbound"}, {"src.identity", world.mesh.identity(late)}});
        CHECK(world.client.dial(late.at(family, 8080)).echoes("to the new one"));
    }

    world.leave(late);
    CHECK(left_in(late) == "");
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Tap cable{world.lab.node_netns(1), late.host_link()};
        CHECK(late.dial(world.plain2.at(family, 8080)).echoes("in the clear"));
        CHECK_FALSE(holding(cable.packets(), "in the clear").empty());
    }
    CHECK(others.goes_on());
    others.stop();
    CHECK_MESSAGE(others.failed() == 0, others.first_failure());
}

TEST_CASE("enrol: whoever looks for the processes in a pod's netns never finds the daemon" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "0s"; }};
    const std::string link = "/proc/" + std::to_string(world.one.pid()) + "/ns/net";
    const auto home = std::filesystem::read_symlink(link);
    std::atomic<bool> over = false;
    auto looked = std::async(std::launch::async, [&] {
        std::size_t elsewhere = 0;
        while (!over) elsewhere += std::filesystem::read_symlink(link) != home;
        return elsewhere;
    });
    world.describe(world.plain1);
    for (int round = 0; round < 3; ++round) {
        world.join(world.plain1);
        world.leave(world.plain1);
    }
    over = true;
    CHECK(looked.get() == 0);
}

TEST_CASE("enrol: while a pod leaves, its tunnels live until the deadline and new calls go out as they are" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "3s"; }};
    std::promise<std::string> at_far;
    Server far{world.far.netns(), 8080, [&](Connection& connection) {
                   for (std::size_t size : {6, 15}) connection.send(connection.receive(size));
                   at_far.set_value(connection.ending(10s));
               }};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Connection tunnelled = world.near.dial(world.far.at(Family::v4, 8080));
    CHECK(tunnelled.echoes("before"));
    world.mesh.workload(world.near).enrolled = false;
    world.one.configure(world.mesh.yaml(1));
    REQUIRE(world.one.says({"applied"}));
    CHECK(tunnelled.echoes("while it leaves"));
    CHECK(world.near.dial(world.plain2.at(Family::v4, 8080)).echoes("already outside"));
    CHECK(world.plain2.dial(world.near.at(Family::v4, 8080)).echoes("already outside"));
    CHECK(near.guests().back().from.ip == world.plain2.ip(Family::v4));
    CHECK(tunnelled.ending(10s) == "reset");
    CHECK(at_far.get_future().get() == "reset");  // the far end's app must not take it for an end, either
    CHECK(world.one.says({"near", "has left the mesh"}, 15s));
}

TEST_CASE("enrol: a pod made anew at the same path is followed, and one that is gone is let go and waited for" IPV4) {
    World world;
    const std::string path = world.near.netns_path();
    CHECK(left_in(world.near) != "");
    CHECK(left_in(world.plain1) == "");
    must({"umount", "-l", path});
    must({"mount", "--bind", world.plain1.netns_path(), path});  // plain1 plays the new near
    CHECK(world.one.says({"there is another netns at", path}, 10s));
    CHECK(world.one.says({"near", "is in the mesh"}));
    CHECK(left_in(world.near) == "");
    CHECK(left_in(world.plain1) != "");
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.plain1.dial(world.far.at(Family::v4, 8080)).echoes("sealed"));
    world.two.access_log().wait_for({{"direction", "inbound"}, {"src.identity", world.mesh.identity(world.near)}});

    must({"umount", "-l", path});
    std::filesystem::remove(path);
    CHECK(world.one.says({path, "is gone"}, 10s));
    CHECK(world.one.says({"Trying again"}));
    CHECK(left_in(world.plain1) == "");
    std::ofstream{path}.flush();
    must({"mount", "--bind", world.plain1.netns_path(), path});
    CHECK(world.one.says({"near", "is in the mesh"}, 10s));
    CHECK(left_in(world.plain1) != "");
}

TEST_CASE("enrol: a workload's change applies to the next call, not to the ones that are open" IPV4) {
    World world;
    Server at_8080{world.far.netns(), 8080, apps::greet("8080")};
    Server at_9090{world.far.netns(), 9090, apps::greet("9090")};
    Connection open = world.client.dial(world.vip("far", Family::v4));
    CHECK(open.receive(4) == "8080");
    world.mesh.workload(world.far).services["far"] = {{80, 9090}};
    world.reconfigure();
    REQUIRE(world.one.says({"applied"}));
    CHECK(world.client.dial(world.vip("far", Family::v4)).receive(4) == "9090");
    CHECK(open.echoes("still the old one"));
}

TEST_CASE("enrol: a bad file is refused with its line and key, the last good one goes on" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Connection open = world.client.dial(world.vip("far", Family::v4));
    CHECK(open.echoes("before"));
    const std::string good = world.mesh.yaml(1);
    struct Row {
        std::string name;
        std::string yaml;
        std::vector<std::string> words;
    };
    for (const Row& row :
         {Row{"unknown key", good + "nonsense: 1\n", {world.one.config_path(), "nonsense", "expected"}},
          Row{"no YAML at all", "{{{", {world.one.config_path() + ":1"}}, Row{"empty", "", {world.one.config_path()}},
          Row{"a second time", good + "workers: 2\n", {world.one.config_path(), "workers", "second time"}}}) {
        CAPTURE(row.name);
        world.one.configure(row.yaml);
        std::vector<std::string> words = row.words;
        words.push_back("The last good configuration goes on");
        CHECK(world.one.says(words));
        CHECK(open.echoes("during"));
        CHECK(world.client.dial(world.vip("far", Family::v4)).echoes("during"));
        CHECK(world.one.ready());
    }
    CHECK(total(world.one.metrics(), "culvert_config_reloads_total{result=\"bad\"}") >= 4);
    world.mesh.workload(world.near).enrolled = false;
    world.one.configure(world.mesh.yaml(1));
    CHECK(world.one.says({"near", "has left the mesh"}, 15s));
    CHECK(open.echoes("after"));
}

TEST_CASE("enrol: a pod whose namespace is not there yet joins when it is" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    const std::string uid = "Kubernetes//Pod/ns/soon";
    const std::string pod_line = "pods:\n- {uid: \"" + uid +
                                 "\", name: soon, namespace: ns, serviceAccount: soon, netns: /run/netns/" +
                                 world.lab.name() + "-soon}\n";
    const std::string workload_line = "workloads:\n- {uid: \"" + uid +
                                      "\", name: soon, namespace: ns, serviceAccount: soon, "
                                      "trustDomain: cluster.local, clusterId: Kubernetes, workloadIps: [10.71.1.40], "
                                      "protocol: HBONE, services: {}}\n";
    std::string yaml = world.mesh.yaml(1);
    yaml.replace(yaml.find("pods:\n"), 6, pod_line);
    yaml.replace(yaml.find("\nworkloads:\n") + 1, 11, workload_line);
    world.one.configure(yaml);
    CHECK(world.one.says({"soon", "Trying again"}));
    CHECK(world.client.dial(world.vip("far", Family::v4)).echoes("meanwhile"));
    Pod& soon = world.lab.add_pod("soon", 1, 40);
    CHECK(world.one.says({"soon", "is in the mesh"}, 10s));
    world.mark();
    CHECK(soon.dial(world.far.at(Family::v4, 8080)).echoes("here I am"));
    world.two.access_log().wait_for(
        {{"direction", "inbound"}, {"src.identity", "spiffe://cluster.local/ns/ns/sa/soon"}});
}

}
