// SPDX-License-Identifier: Apache-2.0
// Files and paths that change their mind, and hands that clean up too early: a pod that is wanted stays closed or
// served.
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "ctl.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr std::string_view secret = "wanted-again";

// The node's file with another netns path for a pod.
void move_path(World& world, const Pod& pod, const std::string& path) {
    std::string yaml = world.mesh.yaml(1);
    const auto at = yaml.find(pod.netns_path());
    REQUIRE(at != std::string::npos);
    world.one.configure(yaml.replace(at, pod.netns_path().size(), path));
}

}

TEST_SUITE("wanted") {

TEST_CASE("wanted: a pod that is put back into the file while it drains lets nothing past the proxy meanwhile" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "2s"; }};
    Server echo{world.far.netns(), 8080, apps::echo};
    Connection open = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(open.echoes("holds the drain up"));
    world.mesh.workload(world.client).enrolled = false;
    world.reconfigure();
    REQUIRE(world.one.says({"applied"}));
    const std::vector<std::string> why{"explain", "client", "far", "8080"};
    CHECK(holds(ask(world, world.one, why), "captured     no, the pod is leaving\n"));
    world.mesh.workload(world.client).enrolled = true;
    world.reconfigure();
    REQUIRE(world.one.says({"applied"}));
    const Output closed = ask(world, world.one, why);
    CHECK(closed.status == 4);
    CHECK(holds(closed, "goes nowhere the pod is leaving, to join again: until then it is refused\n"));
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    bool back = false;
    while (!back) {
        try {
            Connection app =
                Connection::open(world.client.netns(), {.to = world.far.at(Family::v4, 8080), .limit = 200ms});
            app.limit(200ms);
            app.echoes(secret);
        } catch (const std::exception&) {  // refused: closed
        }
        back = world.one.says({"client", "is in the mesh"}, 1ms);
    }
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK_MESSAGE(outside_tunnels(cable.packets()).empty(), Tap::list(outside_tunnels(cable.packets())));
}

TEST_CASE("wanted: a pod whose path is gone but whose processes live stays in the mesh" IPV4) {
    World world;
    Server echo{world.far.netns(), 8080, apps::echo};
    Process app({"sleep", "60"}, world.client.netns(), world.one.log_path());
    must({"umount", "-l", world.client.netns_path()});
    std::filesystem::remove(world.client.netns_path());
    CHECK(world.one.says({"is gone, but its netns is in use"}, 10s));
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK(outside_tunnels(cable.packets()).empty());
    std::ofstream{world.client.netns_path()}.flush();
    must({"mount", "--bind", "/proc/" + std::to_string(app.pid()) + "/ns/net", world.client.netns_path()});
}

TEST_CASE("wanted: a second pod in the same netns is refused, the first is not disturbed" IPV4 EBPF_ONLY(
    "a second pod's listeners find the ports taken, and the error names those")) {
    World world;
    Server echo{world.far.netns(), 8080, apps::echo};
    move_path(world, world.near, "/run/../" + world.client.netns_path());
    CHECK(world.one.says({"lives in the network namespace of ns/client"}, 10s));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    std::this_thread::sleep_for(1100ms);  // two looks
    CHECK(total(world.one.metrics(), "culvert_capture_repairs_total") == 0);
}

TEST_CASE("wanted: a path that leads to no network namespace is named, and holds nothing up" IPV4) {
    World world;
    Server echo{world.far.netns(), 8080, apps::echo};
    const std::string fifo = world.one.config_path() + ".fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    for (const std::string& path : {fifo, world.one.config_path(), std::string{"/tmp"}}) {
        CAPTURE(path);
        move_path(world, world.near, path);
        CHECK(world.one.says({path, "is not a network namespace"}, 10s));
        CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    }
}

TEST_CASE("wanted: nobody cleans up under a successor, however soon after a take-over" IPV4 EBPF_ONLY(
    "the rules lead to fixed ports, which two daemons cannot both have")) {
    World world;
    Server echo{world.far.netns(), 8080, apps::echo};
    Process old = world.one.start_successor(culvertd());
    old.signal(SIGTERM);
    Tap cable{world.lab.node_netns(1), world.client.host_link()};
    while (!old.wait(1ms)) CHECK(world.one.cleanup().status != 0);
    for (int i = 0; i < 50; ++i) CHECK(world.one.cleanup().status != 0);
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes(secret));
    CHECK(outside_tunnels(cable.packets()).empty());
}

}
