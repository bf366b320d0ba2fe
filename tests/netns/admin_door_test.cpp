// SPDX-License-Identifier: Apache-2.0
// What istioctl and people's fingers find on port 15000: a dump in the shape of the real ztunnel's, the log level, the
// way out.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include <fstream>
#include <sstream>

#include "outcome.hpp"
#include "policies.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;
using boost::json::array;
using boost::json::object;
using boost::json::value;

namespace {

const SocketAddress door{*IpAddress::parse("127.0.0.1"), 15000};

HttpAnswer post(const Node& node, const std::string& path) {
    Connection client = Connection::open(node.netns(), {.to = door, .from = {}, .limit = 5s});
    client.send("POST " + path + " HTTP/1.1\r\nHost: door\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    const std::string answer = client.receive_all();
    return {std::atoi(answer.c_str() + 9), answer.substr(answer.find("\r\n\r\n") + 4)};
}

std::string text(const value& what) {
    return what.is_string() ? std::string{what.as_string()} : boost::json::serialize(what);
}

object dump(const Node& node) {
    const auto answer = http_get(node.netns(), door, "/config_dump");
    REQUIRE(answer.status == 200);
    return boost::json::parse(answer.body).as_object();
}

// Keys that name things rather than say what they are.
bool is_map(const std::string& path) {
    for (const char* end : {"/endpoints", "/ports", "/port", "/workloadState", "/services/*", "/stagedServices"})
        if (path.ends_with(end)) return true;
    return false;
}

// What is of ztunnel's making, and says nothing of this mesh.
bool is_foreign(const std::string& path) {
    for (const char* start :
         {"/config/dnsResolver", "/config/enableEnhancedBaggage", "/config/fakeSelfInbound", "/config/inpodPortReuse",
          "/config/localhostAppTunnel", "/config/ztunnel", "/config/proxyWorkloadInformation", "/config/dnsProxyAddr",
          "/config/caRootCert", "/config/xdsRootCert", "/config/inpodUds", "/config/proxyMetadata"})
        if (path.starts_with(start)) return true;
    return false;
}

std::string kind_of(const value& what) {
    return what.is_number() ? "number" : std::string{to_string(what.kind())};
}

// Every key of theirs is in ours, and holds the same kind of thing; lists by their first entries. A value that is null
// in one of them may be anything.
void check_shape(const value& ours, const value& theirs, const std::string& path) {
    if (is_foreign(path) || ours.is_null() || theirs.is_null()) return;
    CAPTURE(path);
    REQUIRE(kind_of(ours) == kind_of(theirs));
    if (theirs.is_object()) {
        const auto& known = ours.as_object();
        for (const auto& [key, their] : theirs.as_object()) {
            const std::string deeper = path + "/" + std::string{key};
            if (is_map(path)) {
                REQUIRE_FALSE(known.empty());
                check_shape(known.begin()->value(), their, path + "/*");
                break;
            }
            const auto* our = known.if_contains(key);
            CHECK_MESSAGE((our || is_foreign(deeper)), deeper);
            if (our) check_shape(*our, their, deeper);
        }
    } else if (theirs.is_array() && !theirs.as_array().empty() && !ours.as_array().empty()) {
        check_shape(ours.as_array().front(), theirs.as_array().front(), path + "/0");
    }
}

}

TEST_SUITE("admin door") {

TEST_CASE("admin door: the dump has the shape of the real ztunnel's" IPV4 NO_CAPTURE) {
    World& world = World::shared();
    std::ifstream file{CULVERT_SOURCE_DIR "/tests/netns/recorded/config_dump.json"};
    std::stringstream recorded;
    recorded << file.rdbuf();
    value theirs = boost::json::parse(recorded.str());
    object ours = dump(world.one);
    // Names that a control plane gives, and a file of these tests leaves out.
    for (const char* list : {"workloads", "staticConfig"}) {
        auto& workloads = std::string_view{list} == "workloads"
                              ? theirs.at(list).as_array()
                              : theirs.at(list).as_object().at("workloads").as_array();
        for (auto& workload : workloads)
            for (const char* key : {"workloadName", "workloadType", "canonicalName", "canonicalRevision"})
                workload.as_object().erase(key);
    }
    check_shape(ours, theirs, "");
    CHECK(ours.at("workloads").as_array().size() == world.mesh.workloads.size());
    CHECK(ours.at("services").as_array().size() == world.mesh.services.size());
    CHECK(text(ours.at("config").as_object().at("localNode")) == world.lab.node_name(1));
    CHECK(ours.at("workloadState").as_object().size() == 2);
    const auto& certificates = ours.at("certificates").as_array();
    REQUIRE_FALSE(certificates.empty());
    for (const auto& certificate : certificates)
        for (const auto& one : certificate.at("certChain").as_array()) {
            const std::string serial = text(one.at("serialNumber"));
            CHECK_FALSE(serial.empty());
            CHECK(serial.find_first_not_of("0123456789") == std::string::npos);
        }
}

TEST_CASE("admin door: a connection is in the dumps of both ends while it lives" IPV4 NO_CAPTURE) {
    World& world = World::shared();
    Server far{world.far.netns(), 8080, apps::echo};
    auto connections = [](const Node& node, const Pod& pod, const char* direction) {
        const object all = dump(node);
        return all.at("workloadState").at(Mesh::uid(pod)).at("connections").at(direction).as_array();
    };
    const SocketAddress vip = world.vip("far", Family::v4);
    const SocketAddress app = world.far.at(Family::v4, 8080);
    {
        Connection call = world.client.dial(vip);
        CHECK(call.echoes("here"));
        const array outbound = connections(world.one, world.client, "outbound");
        REQUIRE(outbound.size() == 1);
        CHECK(text(outbound[0].at("src")) == call.local().to_string());
        CHECK(text(outbound[0].at("originalDst")) == vip.to_string());
        CHECK(text(outbound[0].at("actualDst")) == world.far.at(Family::v4, 15008).to_string());
        CHECK(text(outbound[0].at("protocol")) == "HBONE");
        const array inbound = connections(world.two, world.far, "inbound");
        REQUIRE(inbound.size() == 1);
        CHECK(text(inbound[0].at("originalDst")) == "far.ns.svc.cluster.local");
        CHECK(text(inbound[0].at("actualDst")) == app.to_string());
        CHECK(text(inbound[0].at("protocol")) == "HBONE");
        call.end_sending();
        CHECK(call.receive_all() == "");
    }
    CHECK(eventually(5s, [&] {
        return connections(world.one, world.client, "outbound").empty() &&
               connections(world.two, world.far, "inbound").empty();
    }));
}

TEST_CASE("admin door: policies are told as they are in force" IPV4 NO_CAPTURE) {
    World& world = World::shared();
    Policies policies{world};
    policies.publish(strict, "ns/strict", &world.far);
    const object all = dump(world.two);
    const auto& list = all.at("policies").as_array();
    REQUIRE(list.size() == 1);
    CHECK(text(list[0].at("name")) == "strict");
    CHECK(text(list[0].at("action")) == "Deny");
    CHECK(boost::json::serialize(list[0].at("rules")) == R"([[[{"notPrincipals":[{"Presence":[]}]}]]])");
}

TEST_CASE("admin door: the log level is told, set, and set back" IPV4 NO_CAPTURE) {
    World& world = World::shared();
    auto answered = [&](const std::string& path) { return post(world.one, path).body; };
    CHECK(answered("/logging") == "current log level is debug\n");
    CHECK(answered("/logging?level=warn") == "current log level is warn\n");
    CHECK(answered("/logging") == "current log level is warn\n");
    CHECK(answered("/logging?reset") == "current log level is debug\n");
    CHECK(answered("/logging?level=error&reset=true") == "current log level is error\n");
    for (const char* bad : {"/logging?level=loud", "/logging?level=access:debug", "/logging?level="}) {
        CAPTURE(bad);
        const auto answer = post(world.one, bad);
        CHECK(answer.status == 400);
        CHECK(answer.body.starts_with("Invalid level provided: "));
    }
    CHECK(answered("/logging?reset") == "current log level is debug\n");
    const auto got = http_get(world.one.netns(), door, "/logging");
    CHECK(got.status == 405);
    CHECK(got.body.starts_with("Invalid HTTP method\n"));
}

TEST_CASE("admin door: it is the node's own, and says what is behind it" IPV4 NO_CAPTURE) {
    World& world = World::shared();
    CHECK(http_get(world.one.netns(), door, "/").body.find("config_dump") != std::string::npos);
    CHECK(post(world.one, "/config_dump").status == 200);
    CHECK(http_get(world.one.netns(), door, "/debug/pprof/heap").status == 404);
    CHECK(http_get(world.one.netns(), door, "/quitquitquit").status == 405);
    CHECK(world.one.ready());
}

TEST_CASE("admin door: whoever posts to the way out ends the daemon, as SIGTERM does" IPV4 NO_CAPTURE) {
    World world;
    const auto answer = post(world.one, "/quitquitquit");
    CHECK(answer.status == 200);
    CHECK(answer.body == "shutdown now\n");
    CHECK(world.one.wait_exit(10s) == 0);
    CHECK(world.one.says({"drained: bye"}));
}

}
