// SPDX-License-Identifier: Apache-2.0
// Ending on purpose: a drain, a hurry, and what stays behind until cleanup.
#include <doctest/doctest.h>

#include <signal.h>

#include <filesystem>
#include <map>

#include "ctl.hpp"
#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

bool nobody_listens_in(const Pod& pod, int port) {
    return must({"ss", "-Hltn", "sport = :" + std::to_string(port)}, pod.netns()).empty();
}

}

TEST_SUITE("shutdown") {

TEST_CASE("shutdown: draining, open connections finish in peace and new ones are refused at once" BOTH_FAMILIES) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "20s"; }};
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    std::vector<Connection> open;
    for (Family family : families()) {
        open.push_back(world.client.dial(world.far.at(family, 8080)));  // through a tunnel that we opened
        open.push_back(world.far.dial(world.near.at(family, 8080)));    // through a tunnel that we accepted
        open.push_back(world.client.dial(world.plain2.at(family, 8080)));
    }
    for (Connection& app : open) CHECK(app.echoes("before"));

    world.one.signal(SIGTERM);
    CHECK(world.one.says({"draining"}));
    CHECK_FALSE(world.one.ready());
    // Behind rules a SYN finds a listener until each worker has closed it.
    if (capture_mode() != "ebpf") CHECK(eventually(5s, [&] { return nobody_listens_in(world.client, 15001); }));
    for (Family family : families()) {
        CAPTURE(to_string(family));
        for (const SocketAddress& target : {world.vip("far", family), world.plain2.at(family, 8080)}) {
            const Attempt attempt = world.client.attempt(target, 1s);
            CHECK(attempt.error != 0);
            CHECK(attempt.took < 900ms);  // a SYN that nobody refuses is sent again after 1 s
        }
    }
    for (Connection& app : open) CHECK(app.echoes("while it drains"));
    for (const char* from : {"client", "far"})
        CHECK(holds(ask(world, world.one, {"explain", from, "near", "8080"}), "this daemon is ending"));
    CHECK(world.one.running());

    Stopwatch watch;
    for (Connection& app : open) app.end_sending();
    for (Connection& app : open) CHECK(app.receive_all() == "");
    CHECK(world.one.wait_exit(10s) == 0);
    CHECK(watch.elapsed() < 10s);
}

TEST_CASE("shutdown: after the deadline what is still open is cut, never with a clean end, and the line says so" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "1s"; }};
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Server plain{world.plain2.netns(), 8080, apps::echo};
    std::map<std::string, Connection> open;
    open.emplace("our pod calls through a tunnel", world.client.dial(world.far.at(Family::v4, 8080)));
    open.emplace("our pod is called through a tunnel", world.far.dial(world.near.at(Family::v4, 8080)));
    open.emplace("our pod calls plainly", world.client.dial(world.plain2.at(Family::v4, 8080)));
    open.emplace("our pod is called plainly", world.plain2.dial(world.near.at(Family::v4, 8080)));
    for (auto& [who, app] : open) CHECK_MESSAGE(app.echoes("before"), who);
    Stopwatch watch;
    world.one.signal(SIGTERM);
    CHECK(world.one.wait_exit(10s) == 0);
    CHECK(watch.elapsed() >= 900ms);
    CHECK(watch.elapsed() < 5s);
    for (auto& [who, app] : open) CHECK_MESSAGE(app.ending(2s) == "reset", who);
    for (const char* direction : {"outbound", "inbound"}) {
        const auto line = world.one.access_log().wait_for({{"direction", direction}});
        CHECK(line["error"] == "connection closed due to connection drain");
    }
    world.two.access_log().wait_for({{"direction", "inbound"}});
}

TEST_CASE("shutdown: a pod that is made anew while the daemon drains is the next daemon's" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "3s"; }};  // it looks after pods every other second
    Server far{world.far.netns(), 8080, apps::echo};
    Connection open = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(open.echoes("before"));
    world.one.signal(SIGTERM);
    CHECK(world.one.says({"draining"}));
    world.lab.remake_pod(world.client);
    CHECK(world.one.wait_exit(10s) == 0);
    CHECK_FALSE(world.one.says({"another netns"}, 0ms));
}

TEST_CASE("shutdown: a second SIGTERM ends it now" IPV4) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "1h"; }};
    Server far{world.far.netns(), 8080, apps::echo};
    Connection open = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(open.echoes("before"));
    world.one.signal(SIGTERM);
    CHECK(world.one.says({"draining"}));
    CHECK_FALSE(world.one.wait_exit(300ms));
    world.one.signal(SIGTERM);
    CHECK(world.one.wait_exit(10s) == 0);
    CHECK(open.ending() != "silence");
}

TEST_CASE("shutdown: without cleanup pods stay closed; cleanup leaves no trace and opens them" BOTH_FAMILIES) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    const auto links = pinned_links(world.one);
    if (capture_mode() == "ebpf") CHECK(links.size() >= 2);
    CHECK(living_links(links) == links);
    CHECK(left_in(world.client) != "");

    world.one.signal(SIGTERM);
    REQUIRE(world.one.wait_exit(10s) == 0);
    for (Family family : families()) {
        CAPTURE(to_string(family));
        CHECK(world.client.attempt(world.plain2.at(family, 8080)).error != 0);
        CHECK(world.client.attempt(world.plain2.at(family, 8080)).took < 1s);
        CHECK(world.plain1.attempt(world.near.at(family, 8080)).error != 0);
    }
    CHECK(near.guests().empty());

    const Output cleaned = world.one.cleanup();
    CHECK_MESSAGE(cleaned.status == 0, cleaned.text);
    CHECK_FALSE(std::filesystem::exists(pin_folder(world.one)));
    CHECK(living_links(links).empty());
    for (const Pod* pod : {&world.client, &world.near}) CHECK(left_in(*pod) == "");
    for (Family family : families()) {
        CHECK(world.client.dial(world.near.at(family, 8080)).echoes("no mesh here"));
        CHECK(near.guests().back().from.ip == world.client.ip(family));
    }
    CHECK_MESSAGE(world.one.cleanup().status == 0, "a second cleanup finds nothing to do");
}

TEST_CASE("shutdown: --cleanup opens the pods when the daemon ends" IPV4) {
    World world;
    Server near{world.near.netns(), 8080, apps::echo};
    world.one.signal(SIGTERM);
    REQUIRE(world.one.wait_exit(10s) == 0);
    const std::string log = world.lab.folder() / "with-cleanup.log";
    Process daemon{{culvertd(), "--config", world.one.config_path(), "--cleanup"}, world.one.netns(), log};
    REQUIRE(eventually(10s, [&] { return world.one.ready(); }));
    CHECK(left_in(world.client) != "");
    daemon.signal(SIGTERM);
    CHECK(daemon.wait(10s) == 0);
    CHECK(left_in(world.client) == "");
    CHECK(world.client.dial(world.near.at(Family::v4, 8080)).echoes("open"));
}

}
