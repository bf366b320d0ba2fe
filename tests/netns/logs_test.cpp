// SPDX-License-Identifier: Apache-2.0
// What a reader finds: the access log in the shapes that ztunnel's readers know, and the live flows in the shared map.
#include <doctest/doctest.h>

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "finally.hpp"
#include "janitor.hpp"
#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

// The lines below "# <section>" of the recording.
std::vector<AccessLine> recorded(const std::string& section) {
    std::ifstream file{CULVERT_SOURCE_DIR "/tests/netns/recorded/ztunnel-access.log"};
    std::vector<AccessLine> lines;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("#")) inside = line == "# " + section;
        if (auto parsed = inside ? parse_access_line(line) : std::nullopt) lines.push_back(std::move(*parsed));
    }
    return lines;
}

// The same text for the same failure; an address in it must be the line's own.
std::string failure_of(const AccessLine& line) {
    const std::string text = line["error"];
    const auto at = text.find(line["dst.addr"]);
    return at == std::string::npos ? text : text.substr(0, at) + "<dst.addr>";
}

void check_alike(const AccessLine& ours, const AccessLine& theirs) {
    CAPTURE(ours.raw);
    CAPTURE(theirs.raw);
    // The recorded ztunnel had its mesh from a file, and then it knows of no workload's services.
    AccessLine known = ours;
    if (ours["direction"] == "inbound")
        std::erase_if(known.fields, [](const auto& field) { return field.key == "dst.service"; });
    CHECK(known.shape() == theirs.shape());
    CHECK(ours.level == theirs.level);
    CHECK(ours.message == theirs.message);
    CHECK(ours["direction"] == theirs["direction"]);
    CHECK(failure_of(ours) == failure_of(theirs));
    CHECK(std::regex_match(ours["duration"], std::regex{theirs["duration"].empty() ? "" : "[0-9]+ms"}));
    const std::regex time{R"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z)"};
    CHECK(std::regex_match(ours["time"].empty() ? ours.raw.substr(0, 27) : ours["time"], time));
}

struct Expected {
    std::string call;
    bool server_side;
    std::size_t recorded;
    Wanted wanted;
};

void call(const Pod& from, const SocketAddress& to) {
    Connection app = from.dial(to);
    try {
        app.send("GET / HTTP/1.0\r\n\r\n");
        app.end_sending();
    } catch (const std::system_error&) {  // refused already: the line is what counts
    }
    app.ending();
}

// The calls of the recording, in its order, on the lab's addresses.
void make_calls(World& world) {
    const auto v4 = Family::v4;
    call(world.client, world.far.at(v4, 8080));
    call(world.client, world.vip("far", v4));
    call(world.client, world.near.at(v4, 8080));
    call(world.client, world.vip("near", v4));
    call(world.client, world.plain2.at(v4, 8080));
    call(world.plain1, world.far.at(v4, 8080));
    call(world.client, world.far.at(v4, 9));
    call(world.client, world.vip("far", v4, 9999));
}

std::vector<Expected> expectations(World& world, bool json) {
    const std::string far = world.far.at(Family::v4, 8080).to_string();
    const std::string near = world.near.at(Family::v4, 8080).to_string();
    const std::string closed = world.far.at(Family::v4, 9).to_string();
    std::vector<Expected> all{
        {"pod IP cross-node", false, 0, {{"direction", "outbound"}, {"dst.hbone_addr", far}, {"dst.service", ""}}},
        {"VIP cross-node", false, 1, {{"direction", "outbound"}, {"dst.service", "far.ns.svc.cluster.local"}}},
        {"same node, its inbound side", false, 2, {{"direction", "inbound"}, {"dst.hbone_addr", near}}},
        {"pod IP same node", false, 3, {{"direction", "outbound"}, {"dst.hbone_addr", near}, {"dst.service", ""}}},
        {"VIP same node", false, 5, {{"direction", "outbound"}, {"dst.service", "near.ns.svc.cluster.local"}}},
        {"to a pod outside", false, json ? 6U : 7U, {{"dst.addr", world.plain2.at(Family::v4, 8080).to_string()}}},
        {"inbound from a tunnel", true, 0, {{"direction", "inbound"}, {"dst.hbone_addr", far}}},
        {"inbound from outside", true, json ? 2U : 3U, {{"direction", "inbound"}, {"dst.addr", far}}},
    };
    if (!json) return all;
    all.push_back({"closed port", false, 7, {{"direction", "outbound"}, {"dst.hbone_addr", closed}}});
    all.push_back({"closed port, its inbound side", true, 3, {{"direction", "inbound"}, {"dst.hbone_addr", closed}}});
    all.push_back({"no such port", false, 8, {{"dst.addr", world.vip("far", Family::v4, 9999).to_string()}}});
    return all;
}

}

TEST_SUITE("logs") {

TEST_CASE("log: every kind of line has the keys, order, types and texts of the recorded ones" IPV4) {
    for (const std::string format : {"text", "json"}) {
        CAPTURE(format);
        World world{[&](Mesh& mesh) { mesh.settings.log_format = format; }};
        Server far{world.far.netns(), 8080, apps::count_then_answer};
        Server near{world.near.netns(), 8080, apps::count_then_answer};
        Server plain{world.plain2.netns(), 8080, apps::count_then_answer};
        make_calls(world);
        const auto client_side = recorded(format + ", client node");
        const auto server_side = recorded(format + ", server node");
        REQUIRE(client_side.size() == 9);
        REQUIRE(server_side.size() == 4);
        for (const Expected& expected : expectations(world, format == "json")) {
            CAPTURE(expected.call);
            Node& node = expected.server_side ? world.two : world.one;
            check_alike(node.access_log().wait_for(expected.wanted),
                        (expected.server_side ? server_side : client_side).at(expected.recorded));
        }
        // One line per connection and side: the far pods' own dials make none of their own.
        eventually(10s, [&] {
            return world.two.access_log().since_mark().size() >= 4 && world.one.access_log().since_mark().size() >= 9;
        });
        CHECK(world.two.access_log().since_mark().size() == 4);
        CHECK(world.one.access_log().since_mark().size() == 9);
    }
}

TEST_CASE("log: bytes are counted from each side's own view" IPV4) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, [](Connection& connection) {
                   connection.receive_all();
                   connection.send("four");
               }};
    world.mark();
    Connection app = world.client.dial(world.far.at(Family::v4, 8080));
    app.send("seventeen letters");
    app.end_sending();
    CHECK(app.receive_all() == "four");
    const std::string target = world.far.at(Family::v4, 8080).to_string();
    const auto out = world.one.access_log().wait_for({{"direction", "outbound"}, {"dst.hbone_addr", target}});
    const auto in = world.two.access_log().wait_for({{"direction", "inbound"}, {"dst.hbone_addr", target}});
    CHECK(out["bytes_sent"] == "17");
    CHECK(out["bytes_recv"] == "4");
    CHECK(in["bytes_sent"] == "4");
    CHECK(in["bytes_recv"] == "17");
    CHECK(in["src.addr"] != out["src.addr"]);  // the tunnel's port, not the app's
}

TEST_CASE("log: SIGHUP opens the file anew, and no line is lost on the way" IPV4) {
    World world;
    Server far{world.far.netns(), 8080, apps::echo};
    const std::string path = world.one.access_log().path();
    AccessLog rotated{path + ".1"};
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("first"));
    world.one.access_log().wait_for({{"bytes_sent", "5"}});
    std::filesystem::rename(path, rotated.path());
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("second"));
    rotated.wait_for({{"bytes_sent", "6"}});
    world.one.signal(SIGHUP);
    REQUIRE(eventually(15s, [&] { return std::filesystem::exists(path); }));
    CHECK(world.client.dial(world.far.at(Family::v4, 8080)).echoes("the third"));
    world.one.access_log().wait_for({{"bytes_sent", "9"}});
    CHECK(rotated.since_mark().size() == 2);
}

TEST_CASE("log: on a full disk lines wait, connections go on, and there is room for every line in the end" IPV4) {
    constexpr int calls = 200;  // some 80 KiB of lines
    std::filesystem::path disk;
    World world{[&](Mesh& mesh) {
        disk = mesh.lab->folder() / "disk";
        std::filesystem::create_directory(disk);
        janitor::remember("run umount " + disk.string());
        must({"mount", "-t", "tmpfs", "-o", "size=1m", "culvert-test", disk});
        std::filesystem::create_symlink(disk / "access", mesh.lab->folder() / (mesh.lab->node_name(1) + ".access"));
    }};
    const Finally unmount{[&] {
        must({"umount", "-l", disk});
        janitor::forget("run umount " + disk.string());
    }};
    Server far{world.far.netns(), 8080, apps::echo};
    const auto count = [&](const char* what) {
        return total(world.one.metrics(), std::string{"culvert_access_log_"} + what + "_total");
    };
    // All but two pages.
    std::ofstream{disk / "ballast"} << std::string(std::filesystem::space(disk).available - 8192, 'x');
    for (int i = 0; i < calls; ++i) REQUIRE(world.client.dial(world.far.at(Family::v4, 8080)).echoes("goes on"));
    CHECK(eventually(15s, [&] { return count("write_errors") > 0; }));
    CHECK(count("written") < calls);
    CHECK(world.one.says({"access log", "cannot be written", "No space left on device"}));
    CHECK_FALSE(world.one.says({"cannot be written"}, 0ms));  // again

    std::filesystem::remove(disk / "ballast");
    CHECK(eventually(15s, [&] { return count("written") == calls; }));
    CHECK(world.one.says({"takes lines again"}));
    CHECK(count("dropped") + count("lost") == 0);
    std::ifstream file{disk / "access"};
    int whole = 0;
    for (std::string line; std::getline(file, line);) {
        const auto parsed = parse_access_line(line);
        REQUIRE_MESSAGE(parsed, line);
        CHECK((*parsed)["bytes_sent"] == "7");
        ++whole;
    }
    CHECK(whole == calls);
}

TEST_CASE("flows: while a connection lives, the shared map shows whose it is and what it has carried" BOTH_FAMILIES
              EBPF_ONLY("there is no flow table without programs that fill it")) {
    World world{[](Mesh& mesh) { mesh.settings.extra = "limits: {maxFlows: 64}\n"; }};
    Server far{world.far.netns(), 8080, apps::echo};
    for (Family family : families()) {
        CAPTURE(to_string(family));
        Connection app = world.client.dial(world.far.at(family, 8080));
        CHECK(app.echoes("eleven char"));
        const std::string port = "\"source_port\": " + std::to_string(app.local().port);
        std::string rows = dump_map(world.one, "cv_flows");
        CHECK(eventually(15s, [&] {
            rows = dump_map(world.one, "cv_flows");
            return rows.find("\"from_source_bytes\": 11") != std::string::npos &&
                   rows.find("\"to_source_bytes\": 11") != std::string::npos;
        }));
        INFO(rows.substr(0, 1500));
        CHECK(rows.find(port) != std::string::npos);
        CHECK(rows.find("\"kind\": \"CV_FLOW_OUTBOUND\"") != std::string::npos);
        CHECK(rows.find("\"path\": \"CV_PATH_TUNNEL\"") != std::string::npos);
        CHECK(rows.find("\"source\": \"" + world.mesh.identity(world.client) + "\"") != std::string::npos);
        CHECK(rows.find("\"destination\": \"" + world.mesh.identity(world.far) + "\"") != std::string::npos);
        CHECK(dump_map(world.two, "cv_flows").find("\"kind\": \"CV_FLOW_INBOUND_TUNNEL\"") != std::string::npos);
        app.close();
        CHECK(
            eventually(15s, [&] { return dump_map(world.one, "cv_flows").find("CV_FLOW_OPEN") == std::string::npos; }));
    }
}

}
