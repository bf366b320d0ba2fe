// SPDX-License-Identifier: Apache-2.0
// culvertctl against daemons that run: what it shows is what is there, and when it cannot, it says why.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include <filesystem>
#include <fstream>

#include "ctl.hpp"
#include "outcome.hpp"
#include "process.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;
namespace json = boost::json;

namespace {

constexpr const char* one_port = "the rules lead to fixed ports, which two daemons cannot both have";

// The connection from this socket, as the node tells of it; null: it does not.
json::value find(const World& world, const Node& node, const std::string& pod, const std::string& source) {
    auto answer = ask_json(world, node, {"connections", "--pod", pod});
    for (const auto& connection : answer.at("connections").as_array())
        if (text(connection.at("source").at("address")) == source) return connection;
    return {};
}

bool has_moved(const json::value& connection, std::int64_t sent, std::int64_t received) {
    return connection.is_object() && connection.at("bytes_sent").to_number<std::int64_t>() == sent &&
           connection.at("bytes_received").to_number<std::int64_t>() == received;
}

std::string identity_of(const World& world, const Pod& pod) {
    return world.mesh.identity(pod);
}

}

TEST_SUITE("ctl") {

TEST_CASE("ctl: a tunnelled connection is on both nodes, with identities, the tunnel's other end and bytes" IPV4) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    Connection app = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(app.echoes("hello"));

    json::value out, in;
    auto source = app.local().to_string();
    CHECK(eventually(15s, [&] { return has_moved(out = find(world, world.one, "client", source), 5, 5); }));
    CHECK(text(out.at("direction")) == "outbound");
    CHECK(text(out.at("path")) == "HBONE");
    CHECK(text(out.at("source").at("pod")) == "ns/client");
    CHECK(text(out.at("source").at("identity")) == identity_of(world, world.client));
    CHECK(text(out.at("destination").at("address")) == world.far.at(Family::v4, 8080).to_string());
    CHECK(text(out.at("destination").at("identity")) == identity_of(world, world.far));
    CHECK(text(out.at("tunnel_peer")) == world.far.at(Family::v4, 15008).to_string());

    auto answer = ask_json(world, world.two, {"connections", "--pod", "ns/far"});
    REQUIRE(answer.at("connections").as_array().size() == 1);
    in = answer.at("connections").as_array()[0];
    CHECK(text(in.at("direction")) == "inbound");
    CHECK(text(in.at("path")) == "HBONE");
    CHECK(text(in.at("source").at("identity")) == identity_of(world, world.client));
    CHECK(text(in.at("tunnel_peer")).starts_with(world.client.ip(Family::v4).to_string() + ":"));
    CHECK(has_moved(in, 5, 5));

    app.close();
    CHECK(eventually(15s, [&] { return find(world, world.one, "client", source).is_null(); }));
}

TEST_CASE("ctl: plaintext is called so, and has no identities" IPV4) {
    World& world = World::shared();
    Server plain{world.plain2.netns(), 8080, apps::echo};
    Server near{world.near.netns(), 8080, apps::echo};
    Connection out = world.client.dial(world.plain2.at(Family::v4, 8080));
    Connection in = world.plain1.dial(world.near.at(Family::v4, 8080));
    CHECK(out.echoes("out"));
    CHECK(in.echoes("in"));
    struct Row {
        std::string pod, source, direction;
    };
    for (const Row& row :
         {Row{"client", out.local().to_string(), "outbound"}, Row{"near", in.local().to_string(), "inbound"}}) {
        CAPTURE(row.direction);
        auto found = find(world, world.one, row.pod, row.source);
        REQUIRE(found.is_object());
        CHECK(text(found.at("direction")) == row.direction);
        CHECK(text(found.at("path")) == "plaintext");
        CHECK(found.at("source").at("identity").is_null());
        CHECK(found.at("destination").at("identity").is_null());
        CHECK(found.at("tunnel_peer").is_null());
    }
    auto table = ask(world, world.one, {"connections"});
    CHECK(table.status == 0);
    CHECK(holds(table, out.local().to_string() + " ns/client"));
    CHECK(holds(table, in.local().to_string()));
    auto one = ask(world, world.one, {"connections", "--limit", "1"});
    CHECK(holds(one, "and more: "));
}

TEST_CASE("ctl: pods show who they are, what they have and when their certificates end" IPV4) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    Connection app = world.client.dial(world.far.at(Family::v4, 8080));
    CHECK(app.echoes("x"));
    auto pods = ask_json(world, world.one, {"pods", "--pod", "client"}).at("pods").as_array();
    REQUIRE(pods.size() == 1);
    const auto& pod = pods[0];
    CHECK(text(pod.at("uid")) == Mesh::uid(world.client));
    CHECK(text(pod.at("state")) == "in the mesh");
    CHECK(text(pod.at("identity")) == identity_of(world, world.client));
    CHECK(text(pod.at("netns")) == world.client.netns_path());
    CHECK(text(pod.at("certificate_expires")).ends_with("Z"));
    CHECK(pod.at("listeners").to_number<int>() > 0);
    CHECK(pod.at("connections").to_number<int>() >= 1);
    CHECK(holds(ask(world, world.one, {"pods"}), "in 23h"));
    for (const std::string command : {"pods", "connections"}) {
        CAPTURE(command);
        auto nobody = ask(world, world.one, {command, "--pod", "nobody"});
        CHECK(nobody.status == 1);
        CHECK(holds(nobody, "no pod of this node is called nobody"));
    }
    auto none = ask(world, world.one, {"connections", "--pod", "ns/near"});
    CHECK(none.status == 0);
    CHECK(holds(none, "no connections of ns/near"));
}

TEST_CASE("ctl: status tells of the daemon, and of a file that it did not take" IPV4) {
    World world;
    auto status = ask_json(world, world.one, {"status"});
    CHECK(text(status.at("node")) == name_of(world, world.one));
    CHECK(text(status.at("capture")) == capture_mode());
    CHECK(status.at("pid").to_number<int>() == world.one.pid());
    CHECK(status.at("ready").as_bool());
    CHECK(status.at("pods").at("in_mesh").to_number<int>() == 2);
    CHECK(text(status.at("config").at("file")) == world.one.config_path());

    world.one.configure("nonsense: 1\n");
    auto error = [&] { return text(ask_json(world, world.one, {"status"}).at("config").at("error")); };
    CHECK(eventually(15s, [&] { return error().find("nonsense") != std::string::npos; }));
    CHECK(holds(ask(world, world.one, {"status"}), "what was there before is in force"));
    world.reconfigure();
    CHECK(eventually(15s, [&] { return error().empty(); }));
}

TEST_CASE("ctl: reasons have counts and rates" IPV4 EBPF_ONLY("the rules count none")) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("x"));
    auto reasons = ask_json(world, world.one, {"reasons", "--interval", "0.1"}).at("reasons").as_array();
    double counted = 0;
    for (const auto& reason : reasons) {
        counted += reason.at("count").to_number<double>();
        CHECK(reason.at("per_second").to_number<double>() >= 0);
        CHECK_FALSE(text(reason.at("text")).empty());
    }
    CHECK(counted > 0);
    CHECK(holds(ask(world, world.one, {"reasons", "-i", "0.1"}), "PER SECOND"));
}

TEST_CASE("ctl: --watch looks again and again, and SIGINT ends it well" IPV4) {
    World& world = World::shared();
    for (const std::string command : {"status", "pods", "connections", "reasons"}) {
        CAPTURE(command);
        std::string output = world.lab.folder() / ("watch-" + command);
        Process watch({ctl(), "--node", name_of(world, world.one), command, "-w", "-i", "0.1", "-o", "json"}, -1,
                      output);
        auto looks = [&] {
            std::ifstream file{output};
            int lines = 0;
            for (std::string line; std::getline(file, line) && !file.eof(); ++lines) json::parse(line);
            return lines;
        };
        CHECK(eventually(10s, [&] { return looks() >= 3; }));
        CHECK(watch.running());
        watch.signal(SIGINT);
        CHECK(watch.wait(5s) == 0);
    }
}

TEST_CASE("ctl: of several daemons it wants to know which" IPV4) {
    World& world = World::shared();
    Output unsaid = run({ctl(), "status"});
    CHECK(unsaid.status == 1);
    CHECK(holds(unsaid, "say which by --node"));
    CHECK(holds(unsaid, name_of(world, world.one)));
    CHECK(holds(unsaid, name_of(world, world.two)));
}

TEST_CASE("ctl: without a daemon, or without a right to ask it, it says so" IPV4) {
    World& world = World::shared();
    Output nobody = run({ctl(), "--socket", "/nowhere/culvertd.sock", "status"});
    CHECK(nobody.status == 1);
    CHECK(nobody.text ==
          "culvertctl: no culvertd answers on /nowhere/culvertd.sock: is it running? culvertctl "
          "--socket PATH asks another one\n");
    CHECK(ask(world, world.one, {"status", "--bogus"}).status == 2);

    // Where everybody may run it from, whatever the rights of the build's folder.
    auto copy = std::filesystem::temp_directory_path() / ("culvertctl-" + world.lab.name());
    std::filesystem::copy_file(ctl(), copy, std::filesystem::copy_options::overwrite_existing);
    auto socket = "/run/culvert/" + name_of(world, world.one) + "/culvertd.sock";
    Output stranger =
        run({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copy, "-s", socket, "status"});
    std::filesystem::remove(copy);
    CHECK(stranger.status == 1);
    CHECK(holds(stranger, "no permission to open " + socket));
    auto rights = std::filesystem::status(socket).permissions();
    CHECK(rights == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("ctl: a dead daemon's socket is replaced, a living one's is not, and none stays behind" IPV4) {
    World world;
    auto socket = "/run/culvert/" + name_of(world, world.one) + "/culvertd.sock";
    world.one.kill9();
    CHECK(std::filesystem::exists(socket));
    Output dead = ask(world, world.one, {"status"});
    CHECK(dead.status == 1);
    CHECK(holds(dead, "no culvertd answers on " + socket));
    world.one.start();
    CHECK(ask_json(world, world.one, {"status"}).at("pid").to_number<int>() == world.one.pid());

    world.two.signal(SIGTERM);
    CHECK(world.two.wait_exit(10s) == 0);
    CHECK_FALSE(std::filesystem::exists("/run/culvert/" + name_of(world, world.two) + "/culvertd.sock"));
    std::string yaml = world.mesh.yaml(2);
    const std::string ready = "ready: \"[::]:15021\"";
    world.two.configure(yaml.replace(yaml.find(ready), ready.size(), ready + ", control: " + socket));
    Output second = run({culvertd(), "--config", world.two.config_path()}, world.two.netns(), 10s);
    CHECK(second.status == 1);
    CHECK(holds(second, "listen on " + socket + ": another process answers there"));
    CHECK(ask_json(world, world.one, {"status"}).at("pid").to_number<int>() == world.one.pid());

    world.one.kill9();
    CHECK(world.one.cleanup().status == 0);
    CHECK_FALSE(std::filesystem::exists(socket));
    world.reconfigure();
    world.one.start();
    world.two.start();
}

TEST_CASE("ctl: after a take-over the successor answers" IPV4 EBPF_ONLY(one_port)) {
    World world;
    Process old = world.one.start_successor(culvertd());
    auto answers = [&] {
        Output output = ask(world, world.one, {"status", "-o", "json"});
        return output.status == 0 && json::parse(output.text).at("pid").to_number<int>() == world.one.pid();
    };
    CHECK(eventually(10s, answers));
    CHECK(old.wait(20s) == 0);
    CHECK(answers());
}

}
