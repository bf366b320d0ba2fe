// SPDX-License-Identifier: Apache-2.0
// Peers that send what is allowed, without end: each meets its bound, and nobody else notices.
#include <doctest/doctest.h>

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "bystander.hpp"
#include "finally.hpp"
#include "hostile_peer.hpp"
#include "outcome.hpp"

using namespace culvert::test;
using namespace culvert::test::h2;

namespace {

const Family v4 = Family::v4;

// Small bounds, so that they are met soon, and a list of what is revoked.
void tight(Mesh& mesh) {
    std::ofstream{mesh.lab->folder() / "revoked.pem"} << "";
    mesh.settings.certificate_ttl += ", crl: " + (mesh.lab->folder() / "revoked.pem").string();  // of the same section
    mesh.settings.extra =
        "limits: {handshakeTimeout: 2s, maxHandshakesPerSource: 100, maxHandshakesPerWorker: 150, "
        "maxTunnelsPerSource: 120, maxTunnelsPerPeer: 3}\n";
}

struct Flood {
    std::string name;
    std::function<std::string(std::uint32_t)> piece;  // the nth
};

class Files {
public:
    explicit Files(rlim_t wanted) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit more{std::max(wanted, before_.rlim_cur), std::max(wanted, before_.rlim_max)};
        ::setrlimit(RLIMIT_NOFILE, &more);
    }
    Files(const Files&) = delete;
    ~Files() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

std::string fault(const std::string& name) {
    return "culvert_proxy_peer_faults_total{fault=\"" + name + "\"}";
}

// Failed tunnels and requests that the log of node 1 speaks of: a line each, and those that a line counts.
double said(World& world) {
    double sum = 0;
    for (const auto& line : world.one.access_log().since_mark())
        if (line["dst.addr"] == world.near.at(v4, 15008).to_string() && line["dst.hbone_addr"].empty()) ++sum;
    std::ifstream log{world.one.log_path()};
    for (std::string line; std::getline(log, line);)
        if (const auto at = std::min(line.find(" more tunnels of peers"), line.find(" more requests of peers"));
            at != std::string::npos)
            sum += std::atof(line.c_str() + line.rfind('\t', at) + 1);
    return sum;
}

// Who is cut at once may be so before connect() has returned.
bool opened(const auto& open) {
    try {
        open();
        return true;
    } catch (const std::system_error& failure) {
        if (failure.code().value() != ECONNRESET) throw;
        return false;
    }
}

// By one who is let in. Its lines are few, and all are counted.
void ask_for_what_is_not_served(World& world, const Papers& papers, int times) {
    HostilePeer peer{world.plain1.netns(), world.near.at(v4, 15008)};
    REQUIRE(peer.shake_hands({.papers = &papers}) == "");
    peer.begin_http2();
    for (std::uint32_t n = 0; n < static_cast<std::uint32_t>(times); ++n) {
        peer.send(HEADERS, END_HEADERS, 2 * n + 1, connect_to("nonsense"));
        REQUIRE(peer.next(HEADERS));
    }
}

void ten_thousand_that_say_nothing(World& world, const Papers& papers) {
    Files room{12'000};
    Bystander bystander{world};
    const int silent = 10'000, requests = 300;
    const SocketAddress tunnel = world.near.at(v4, 15008);
    const Stopwatch watch;
    {
        std::vector<Connection> open;
        for (int i = 0; i < silent; ++i) {
            opened([&] { open.push_back(world.plain2.dial(tunnel)); });
            if (i % 1000 == 0) CHECK(bystander.load().goes_on(1));
        }
        MESSAGE("10000 connections in " << watch.elapsed().count() << " ms");
        // Another source has its own share.
        CHECK(HostilePeer{world.plain1.netns(), tunnel}.shake_hands({.papers = &papers}) == "");
        CHECK(bystander.rise("culvert_proxy_tunnels_in_open") < 300);
        ask_for_what_is_not_served(world, papers, requests);
        CHECK(bystander.rise(fault("request")) == requests);
        CHECK(bystander.rise("culvert_proxy_connections_closed_total{reason=\"bad_request\"}") == requests);
        CHECK(eventually(
            15s, [&] { return bystander.rise(fault("timeout")) + bystander.rise(fault("over_limit")) == silent; }));
        CHECK(bystander.rise(fault("timeout")) > 0);
        CHECK(bystander.rise(fault("over_limit")) > silent / 2);
    }
    CHECK(world.one.says({"more tunnels of peers", "over_limit"}));
    const bool exact = eventually(11s, [&] {
        std::this_thread::sleep_for(100ms);
        return said(world) == silent + requests;
    });
    CHECK_MESSAGE(exact, said(world) << " of " << silent + requests << " are in the log");
    const auto lines = world.one.access_log().since_mark();
    CHECK(std::ranges::count_if(lines, [](const AccessLine& line) {
              return line["error"].find("nonsense") != std::string::npos;
          }) <= 100);  // of two intervals
    bystander.check();
}

// Hellos, so that memory is taken; from several sources, so that the node's bound is met and the oldest go.
void half_of_a_handshake(World& world, const Papers& papers) {
    Bystander bystander{world};
    {
        std::vector<HostilePeer> peers;
        for (int i = 0; i < 250; ++i)
            for (const Pod* from : {&world.plain2, &world.tcp2}) {
                if (opened([&] { peers.emplace_back(from->netns(), world.near.at(v4, 15008)); }))
                    peers.back().begin_handshake({.papers = &papers});
            }
        CHECK(bystander.load().goes_on());
        CHECK(HostilePeer{world.plain1.netns(), world.near.at(v4, 15008)}.shake_hands({.papers = &papers}) == "");
        CHECK(eventually(
            15s, [&] { return bystander.rise(fault("timeout")) + bystander.rise(fault("over_limit")) == 500; }));
    }
    bystander.check();
}

void one_source_with_many_tunnels(World& world, const Papers& papers) {
    Bystander bystander{world};
    {
        std::vector<HostilePeer> peers;
        for (int i = 0; i < 300; ++i) {
            if (!opened([&] { peers.emplace_back(world.plain2.netns(), world.near.at(v4, 15008)); })) continue;
            if (peers.back().shake_hands({.papers = &papers}) == "")
                peers.back().try_send(preface + frame(SETTINGS, 0, 0));
        }
        CHECK(eventually(15s, [&] { return bystander.rise(fault("over_limit")) >= 60; }));
        CHECK(bystander.rise("culvert_proxy_tunnels_in_open") <= 250);
        CHECK(HostilePeer{world.plain1.netns(), world.near.at(v4, 15008)}.shake_hands({.papers = &papers}) == "");
    }
    bystander.check();
}

void server_that_allows_no_stream(World& world, const Forger& ca) {
    const Papers papers = ca.issue({.names = {world.mesh.identity(world.down)}});
    Bystander bystander{world};
    HostileServer door{world.down.netns(), 15008};
    std::vector<Connection> apps;
    std::vector<HostilePeer> servers;
    const int workers = 2, each = 3;
    const auto limit = [&] { return bystander.rise("culvert_proxy_connections_closed_total{reason=\"over_limit\"}"); };
    for (int i = 0; i < 200 && limit() == 0; ++i) {
        apps.push_back(world.client.dial(world.down.at(v4, 8080)));
        try {
            servers.push_back(door.accept(50ms));
            CHECK(servers.back().shake_hands({.papers = &papers}, true) == "");
            servers.back().send(SETTINGS, 0, 0, setting(3, 0));
        } catch (const std::runtime_error&) {  // none was opened for this one
        }
    }
    CHECK(limit() > 0);
    CHECK(servers.size() <= workers * each);
    world.one.access_log().wait_for({{"error", "over a limit: tunnels to this peer"}});
    apps.clear();
    servers.clear();
    bystander.check();
}

void replace_list(World& world, const std::string& text) {
    const std::filesystem::path file = world.lab.folder() / "revoked.pem";
    std::ofstream{file.string() + ".new"} << text;
    std::filesystem::rename(file.string() + ".new", file);
}

// A server to which a tunnel of ours is open: nothing new is sent there from the moment that its certificate is
// revoked, and what it had ends.
void revoked_server(World& world, const Forger& ca) {
    Bystander bystander{world};
    const Papers bad = ca.issue({.names = {world.mesh.identity(world.down)}, .serial = 7003});
    HostileServer door{world.down.netns(), 15008};
    Connection app = world.client.dial(world.down.at(v4, 8080));
    HostilePeer server = door.accept();
    REQUIRE(server.shake_hands({.papers = &bad}, true) == "");
    server.send(frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0) + frame(HEADERS, END_HEADERS, 1, "\x88"));
    server.send(DATA, 0, 1, "while it was good");
    CHECK(app.receive(17) == "while it was good");

    replace_list(world, ca.revoke({7003}));
    CHECK(world.one.says({"revokes 1 certificates"}));
    world.mark();
    // Of either worker: the one that has the tunnel, and the one that has none.
    for (int calls = 0; calls < 16; ++calls) {
        Connection next = world.client.dial(world.down.at(v4, 8080));
        const std::string refused = door.accept().shake_hands({.papers = &bad}, true);
        CHECK_MESSAGE(refused.find("revoked") != std::string::npos, refused);
        CHECK(next.ending() == "reset");
    }
    CHECK(app.ending() == "reset");
    CHECK(logged(world.one, "connection closed: peer certificate revoked by CRL"));
    CHECK(server.raw(h2::preface.size()) == h2::preface);
    CHECK(server.ending() == "GOAWAY 0");
    replace_list(world, "");
    CHECK(world.one.says({"revokes 0 certificates"}));
    bystander.check();
}

void revoked_certificates(World& world, const Forger& ca) {
    const auto replace = [&](const std::string& text) { replace_list(world, text); };
    Bystander bystander{world};
    const Papers bad = ca.issue({.serial = 7001});
    const Papers good = ca.issue({.serial = 7002});
    HostilePeer open{world.plain2.netns(), world.near.at(v4, 15008)};
    REQUIRE(open.shake_hands({.papers = &bad}) == "");
    open.begin_http2();
    CHECK(open.next(SETTINGS));
    HostilePeer asks{world.plain2.netns(), world.near.at(v4, 15008)};
    REQUIRE(asks.shake_hands({.papers = &bad}) == "");
    asks.begin_http2();
    CHECK(asks.next(SETTINGS));

    replace("words that are no list\n" + ca.revoke({7001}, true));
    CHECK(world.one.says({"revokes 1 certificates"}));
    asks.send(HEADERS, END_HEADERS, 1, connect_to(world.near.at(v4, 8080).to_string()));
    CHECK(asks.ending() == "GOAWAY 0");
    const auto end_of = [&](const Papers& papers) {
        HostilePeer peer{world.plain2.netns(), world.near.at(v4, 15008)};
        CHECK(peer.shake_hands({.papers = &papers}) == "");
        peer.try_send(preface + frame(SETTINGS, 0, 0) + frame(DATA, 0, 1, "x"));
        return peer.ending();
    };
    const std::string refused = end_of(bad);
    CHECK_MESSAGE(refused.find("revoked") != std::string::npos, refused);
    CHECK(end_of(good) == "GOAWAY 1");
    CHECK(open.ending(15s).starts_with("GOAWAY"));  // when it is looked at next
    bystander.check_faults("revoked", 3);

    replace("-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n");
    CHECK(world.one.says({"What was revoked before stays so"}));
    CHECK(end_of(bad).find("revoked") != std::string::npos);
    // Somebody else's word about it counts for nothing.
    replace(Forger::unknown().revoke({7001}));
    CHECK(world.one.says({"revokes 1 certificates"}));
    CHECK(end_of(bad) == "GOAWAY 1");
    bystander.check();
}

}

TEST_SUITE("hostile_floods") {

TEST_CASE("hostile: of frames that carry nothing a tunnel takes so many, and then it ends" IPV4) {
    World& world = World::shared();
    const Papers papers = Forger{world.lab.folder() / "ca"}.issue();
    Bystander bystander{world};
    const std::string request = connect_to(world.near.at(v4, 8080).to_string());
    const auto always = [](std::string piece) { return [piece](std::uint32_t) { return piece; }; };
    const Flood floods[] = {
        {"PING", always(frame(PING, 0, 0, "12345678"))},
        {"PING that answers nothing", always(frame(PING, ACK, 0, "12345678"))},
        {"SETTINGS", always(frame(SETTINGS, 0, 0, setting(4, 65535)))},
        {"empty DATA", always(frame(DATA, 0, 1))},
        {"DATA that is all padding", always(frame(DATA, PADDED, 1, std::string(1, '\0')))},
        {"WINDOW_UPDATE of one byte", always(frame(WINDOW_UPDATE, 0, 0, number(1)))},
        {"PRIORITY", always(frame(PRIORITY, 0, 1, number(0) + "\x10"))},
        {"frames of a type that nobody knows", always(frame(0xee, 0, 0))},
        {"GOAWAY", always(frame(GOAWAY, 0, 0, number(0) + number(0)))},
        {"requests that are reset at once",
         [&](std::uint32_t n) {
             return frame(HEADERS, END_HEADERS, 2 * n + 3, request) + frame(RST_STREAM, 0, 2 * n + 3, number(8));
         }},
        {"a header block that never ends",
         [&](std::uint32_t n) {
             return n == 0 ? frame(HEADERS, 0, 3, request) : frame(CONTINUATION, 0, 3, block({{"a", "b"}}));
         }},
        {"a header block of a megabyte",
         [&](std::uint32_t n) {
             return n == 0 ? frame(HEADERS, 0, 3, request)
                           : frame(CONTINUATION, 0, 3, block({{"a", std::string(60'000, 'b')}}));
         }},
    };
    for (const Flood& flood : floods) {
        CAPTURE(flood.name);
        HostilePeer peer{world.plain2.netns(), world.near.at(v4, 15008)};
        REQUIRE(peer.shake_hands({.papers = &papers}) == "");
        peer.begin_http2();
        peer.send(HEADERS, END_HEADERS, 1, request);
        const double before = bystander.rise(fault("flood")) + bystander.rise(fault("http2"));
        const auto cut = [&] { return bystander.rise(fault("flood")) + bystander.rise(fault("http2")) > before; };
        peer.tcp().limit(1s);
        bool open = true;
        for (std::uint32_t n = 0; n < 60'000 && open;) {
            std::string some;
            for (const std::uint32_t until = n + 2000; n < until; ++n) some += flood.piece(n);
            open = peer.try_send(some) && (n % 10'000 != 0 || !cut());
        }
        CHECK(eventually(15s, cut));
        CHECK(bystander.load().goes_on(5));
    }
    CHECK(bystander.rise(fault("flood")) + bystander.rise(fault("http2")) == std::size(floods));
    bystander.check();
}

TEST_CASE(
    "hostile: handshakes, tunnels and streams that nobody needs meet their bounds, and revoked ones are refused" IPV4) {
    World world{tight};
    const Forger ca{world.lab.folder() / "ca"};
    const Papers papers = ca.issue();
    ten_thousand_that_say_nothing(world, papers);
    half_of_a_handshake(world, papers);
    one_source_with_many_tunnels(world, papers);
    server_that_allows_no_stream(world, ca);
    revoked_server(world, ca);
    revoked_certificates(world, ca);
}

TEST_CASE("hostile: without a descriptor left nothing new begins, what is open goes on, and all is well after" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    bystander.load().stop();
    Connection kept = world.client.dial(world.near.at(v4, 8080));
    CHECK(kept.echoes("before"));
    rlimit before{};
    ::prlimit(world.one.pid(), RLIMIT_NOFILE, nullptr, &before);
    Finally restore{[&] { ::prlimit(world.one.pid(), RLIMIT_NOFILE, &before, nullptr); }};
    rlimit scarce = before;
    scarce.rlim_cur = 3;
    ::prlimit(world.one.pid(), RLIMIT_NOFILE, &scarce, nullptr);
    std::vector<Connection> waiting;
    for (int i = 0; i < 40; ++i) waiting.push_back(world.plain2.dial(world.near.at(v4, 8080)));
    CHECK(world.one.says({"cannot accept connections", "LimitNOFILE"}));
    CHECK(kept.echoes("in between"));
    ::prlimit(world.one.pid(), RLIMIT_NOFILE, &before, nullptr);
    CHECK(world.client.dial(world.near.at(v4, 8080)).echoes("better"));
    CHECK(bystander.rise("culvert_proxy_accept_errors_total") > 0);
    waiting.clear();
    kept.close();
    bystander.check_quietly();
}

TEST_CASE("hostile: without a port left a call fails in the kernel's words, and the next one works" IPV4) {
    World& world = World::shared();
    Server echo{world.plain2.netns(), 8080, apps::echo};
    const SocketAddress target = world.plain2.at(v4, 8080);
    const std::string range = "net.ipv4.ip_local_port_range=";
    Finally restore{[&] { run({"sysctl", "-qw", range + "32768 60999"}, world.client.netns()); }};
    must({"sysctl", "-qw", range + "40000 40003"}, world.client.netns());
    world.mark();
    std::vector<Connection> open;
    int failed = 0;
    for (std::uint16_t port = 61'000; port < 61'010; ++port) {
        open.push_back(world.client.dial(Dial{.to = target, .from = SocketAddress{world.client.ip(v4), port}}));
        try {
            if (!open.back().echoes("a port, please")) ++failed;
        } catch (const std::exception&) {
            ++failed;
        }
    }
    CHECK(failed >= 6);
    CHECK(failed < 10);
    world.one.access_log().wait_for(
        {{"direction", "outbound"}, {"error", "io error: Cannot assign requested address (os error 99)"}});
    open.clear();
    must({"sysctl", "-qw", range + "32768 60999"}, world.client.netns());
    CHECK(world.client.dial(target).echoes("there are ports"));
}

}
