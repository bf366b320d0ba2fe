// SPDX-License-Identifier: Apache-2.0
// Peers with good certificates that break the rules of HTTP/2, one frame at a time, in either role.
#include <doctest/doctest.h>

#include "bystander.hpp"
#include "hostile_peer.hpp"
#include "outcome.hpp"

using namespace culvert::test;
using namespace culvert::test::h2;

namespace {

const Family v4 = Family::v4;
constexpr std::uint32_t most = 0x7fff'ffff;

SocketAddress app(World& world) {
    return world.near.at(v4, 8080);
}

class Client {
public:
    explicit Client(World& world, bool with_settings = true)
        : papers_{Forger{world.lab.folder() / "ca"}.issue()}, peer{world.plain2.netns(), world.near.at(v4, 15008)} {
        REQUIRE(peer.shake_hands({.papers = &papers_}) == "");
        if (with_settings) peer.begin_http2();
    }

private:
    Papers papers_;

public:
    HostilePeer peer;
};

struct Wrong {
    std::string name;
    std::string frames;  // after the preface and SETTINGS; HEADERS of stream 1 first where it says so
    bool on_a_stream = false;
    int goaway = -1;  // the code of the connection's end
    int reset = -1;   // or of the stream's alone
};

// Codes: 1 PROTOCOL_ERROR, 3 FLOW_CONTROL_ERROR, 5 STREAM_CLOSED, 6 FRAME_SIZE_ERROR, 9 COMPRESSION_ERROR,
// 11 ENHANCE_YOUR_CALM.
std::vector<Wrong> wrong_frames(const std::string& request) {
    return {
        {"DATA before HEADERS", frame(DATA, 0, 1, "early"), false, 1},
        {"DATA on a stream that nobody opened", frame(DATA, 0, 99, "x"), true, 1},
        {"DATA on the connection", frame(DATA, 0, 0, "x"), true, 1},
        {"DATA after its end", frame(DATA, END_STREAM, 1, "x") + frame(DATA, 0, 1, "y"), true, 5},
        {"padding as long as its frame", frame(DATA, PADDED, 1, "\x05pad"), true, 1},
        {"DATA that is longer than we take", frame(DATA, 0, 1, std::string((1 << 20) + 1, 'x')), true, 6},
        {"WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, number(0)), false, 1},
        {"WINDOW_UPDATE of nothing, on a stream", frame(WINDOW_UPDATE, 0, 1, number(0)), true, 1},
        {"WINDOW_UPDATE on a stream that nobody opened", frame(WINDOW_UPDATE, 0, 99, number(1)), false, 1},
        {"WINDOW_UPDATE that is short", frame(WINDOW_UPDATE, 0, 0, "abc"), false, 6},
        {"a window past 2^31-1", frame(WINDOW_UPDATE, 0, 0, number(most)), false, 3},
        {"a stream's window past 2^31-1", frame(WINDOW_UPDATE, 0, 1, number(most)), true, -1, 3},
        {"windows past 2^31-1 by SETTINGS",
         frame(WINDOW_UPDATE, 0, 1, number(most - 65535)) + frame(SETTINGS, 0, 0, setting(4, 65536)), true, 3},
        {"a first window of 2^31", frame(SETTINGS, 0, 0, setting(4, 0x8000'0000)), false, 3},
        {"frames of 2^24", frame(SETTINGS, 0, 0, setting(5, 1 << 24)), false, 1},
        {"SETTINGS on a stream", frame(SETTINGS, 0, 1), false, 1},
        {"SETTINGS that are short", frame(SETTINGS, 0, 0, "abc"), false, 6},
        {"an ACK with something to say", frame(SETTINGS, ACK, 0, setting(4, 1)), false, 6},
        {"PING of seven bytes", frame(PING, 0, 0, "1234567"), false, 6},
        {"PING on a stream", frame(PING, 0, 1, "12345678"), true, 1},
        {"HEADERS with an even number", frame(HEADERS, END_HEADERS, 2, request), false, 1},
        {"CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, request), false, 1},
        {"DATA inside a header block", frame(HEADERS, 0, 3, request) + frame(DATA, 0, 1, "x"), true, 1},
        {"WINDOW_UPDATE inside a header block", frame(HEADERS, 0, 3, request) + frame(WINDOW_UPDATE, 0, 1, number(1)),
         true, 1},
        {"headers that do not unpack", frame(HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff"), false, 9},
        {"PUSH_PROMISE of a client", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + request), true, 1},
        {"RST_STREAM of a stream that nobody opened", frame(RST_STREAM, 0, 99, number(8)), false, 1},
        {"RST_STREAM that is short", frame(RST_STREAM, 0, 1, "abc"), true, 6},
    };
}

struct Request {
    std::string name;
    std::string block;
    std::string status;  // of the answer; empty: the stream is reset
    std::string line;    // in the access log; empty: none is due
};

std::vector<Request> requests(const std::string& ip) {
    const auto to = [](const std::string& authority) { return connect_to(authority); };
    return {
        {"GET", block({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", ip + ":8080"}}), "400",
         "method not allowed: GET"},
        {"no port", to(ip), "400", "invalid authority in CONNECT"},
        {"port 0", to(ip + ":0"), "503", "cannot resolve port"},
        {"port 99999", to(ip + ":99999"), "400", "invalid authority in CONNECT"},
        {"a user", to("user@" + ip + ":8080"), "400", "invalid authority in CONNECT"},
        {"another's address", to("10.71.2.11:8080"), "400", "ip mismatch"},
        {"another family's", to("[fd71:0:0:1::11]:8080"), "400", "ip mismatch"},
        {"mapped", to("[::ffff:10.71.2.11]:8080"), "400", "ip mismatch"},
        {"loopback", to("127.0.0.1:8080"), "400", "ip mismatch"},
        {"a port of the mesh", to(ip + ":15001"), "503", "recursive"},
        {"a service that is not", to("nobody.example:80"), "503", "cannot resolve port"},
        {"60,000 letters", to(std::string(60'000, 'a')), "400", "invalid authority in CONNECT"},
        {"no authority", block({{":method", "CONNECT"}}), "", ""},
        {"no method", block({{":authority", ip + ":8080"}}), "", ""},
        {"a path", block({{":method", "CONNECT"}, {":authority", ip + ":8080"}, {":path", "/"}, {":scheme", "http"}}),
         "", ""},
        {"two authorities", block({{":method", "CONNECT"}, {":authority", ip + ":8080"}, {":authority", ip + ":1"}}),
         "", ""},
        {"a pseudo-header after others",
         block({{":method", "CONNECT"}, {"baggage", "x=y"}, {":authority", ip + ":8080"}}), "", ""},
        {"capital letters", block({{":method", "CONNECT"}, {":authority", ip + ":8080"}, {"Baggage", "x=y"}}), "", ""},
    };
}

std::string status_in(const std::string& headers) {
    for (const char* status : {"200", "400", "401", "503"}) {
        if (headers.find(status) != std::string::npos) return status;
    }
    // From the static table, or packed: 8, 12 are 200 and 400.
    if (!headers.empty() && static_cast<unsigned char>(headers[0]) == 0x88) return "200";
    if (!headers.empty() && static_cast<unsigned char>(headers[0]) == 0x8c) return "400";
    return "503";
}

// A server of ours to talk to, that the client's daemon takes for the pod `down`.
class FalsePod {
public:
    explicit FalsePod(World& world)
        : papers_{Forger{world.lab.folder() / "ca"}.issue({.names = {world.mesh.identity(world.down)}})},
          door_{world.down.netns(), 15008} {}
    HostilePeer accept(const std::string& settings = {}) {
        HostilePeer peer = door_.accept();
        REQUIRE(peer.shake_hands({.papers = &papers_}, true) == "");
        peer.send(frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, ACK, 0));
        skip_preface(peer);
        return peer;
    }

private:
    static void skip_preface(HostilePeer& peer) { CHECK(peer.raw(preface.size()) == preface); }
    Papers papers_;
    HostileServer door_;
};

}

TEST_SUITE("hostile_frames") {

TEST_CASE("hostile: whatever frame is wrong, the peer is told which rule it broke, and nobody else hears of it" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    double faults = 0;
    for (const Wrong& row : wrong_frames(connect_to(app(world).to_string()))) {
        CAPTURE(row.name);
        Client client{world};
        if (row.on_a_stream) {
            client.peer.send(HEADERS, END_HEADERS, 1, connect_to(app(world).to_string()));
            const auto answer = client.peer.next(HEADERS);
            REQUIRE(answer);
            CHECK(status_in(answer->payload) == "200");
        }
        client.peer.try_send(row.frames);
        if (row.reset >= 0) {
            const auto reset = client.peer.next(RST_STREAM);
            REQUIRE(reset);
            CHECK(number_in(reset->payload) == static_cast<std::uint32_t>(row.reset));
            client.peer.send(PING, 0, 0, "12345678");
            CHECK(client.peer.next(PING));
        } else {
            CHECK(client.peer.ending() == "GOAWAY " + std::to_string(row.goaway));
            ++faults;
        }
    }
    bystander.check_faults("http2", faults);
    bystander.check();
}

TEST_CASE("hostile: who does not begin as HTTP/2 begins is cut off" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    for (const std::string& words : {std::string{"GET / HTTP/1.1\r\nHost: near\r\n\r\n"},
                                     preface + frame(PING, 0, 0, "12345678"), preface + std::string(64, '\xff')}) {
        Client client{world, false};
        client.peer.send(words);
        const std::string end = client.peer.ending();
        CHECK_MESSAGE((end.starts_with("GOAWAY") || end == "end"), end);
    }
    bystander.check_faults("http2", 3);
    bystander.check();
}

TEST_CASE(
    "hostile: requests that we do not serve are answered, or their stream is reset, and the tunnel goes on" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    Client client{world};
    std::uint32_t stream = 1;
    for (const Request& row : requests(world.near.ip(v4).to_string())) {
        CAPTURE(row.name);
        world.mark();
        const std::string& all = row.block;
        std::string frames = frame(HEADERS, all.size() > 16384 ? 0 : END_HEADERS, stream, all.substr(0, 16384));
        for (std::size_t at = 16384; at < all.size(); at += 16384)
            frames += frame(CONTINUATION, at + 16384 >= all.size() ? END_HEADERS : 0, stream, all.substr(at, 16384));
        client.peer.send(frames);
        if (row.status.empty()) {
            const auto reset = client.peer.next(RST_STREAM);
            REQUIRE(reset);
            CHECK(reset->stream == stream);
            CHECK(number_in(reset->payload) == 1);
        } else {
            auto answer = client.peer.next(HEADERS);
            REQUIRE(answer);
            CHECK(answer->stream == stream);
            CHECK(status_in(answer->payload) == row.status);
            const auto reset = client.peer.next(RST_STREAM);
            REQUIRE(reset);
            CHECK(number_in(reset->payload) == 0);
            CHECK(logged(world.one, row.line));
        }
        stream += 2;
    }
    // The same tunnel, after all that.
    client.peer.send(HEADERS, END_HEADERS, stream, connect_to(app(world).to_string()));
    client.peer.send(DATA, END_STREAM, stream, "and one in order");
    const auto echo = client.peer.next(DATA);
    REQUIRE(echo);
    CHECK(echo->payload == "and one in order");
    bystander.check();
}

TEST_CASE("hostile: a peer that takes no byte holds up its own stream, and gives all back when it goes" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    {
        Client client{world};
        client.peer.send(SETTINGS, 0, 0, setting(4, 0));  // for ever
        for (std::uint32_t stream = 1; stream < 100; stream += 2) {
            client.peer.send(HEADERS, END_HEADERS, stream, connect_to(app(world).to_string()));
            client.peer.send(DATA, 0, stream, std::string(1000, 'x'));
        }
        for (int answers = 0; answers < 50; ++answers) CHECK(client.peer.next(HEADERS));
        client.peer.send(PING, 0, 0, "12345678");
        CHECK(client.peer.next(PING));
        CHECK(bystander.load().goes_on());
    }
    bystander.check();
}

TEST_CASE("hostile: a server that goes away in the middle of a stream" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    FalsePod server{world};
    const SocketAddress target = world.down.at(v4, 8080);
    struct Row {
        std::string name;
        std::string frames;
        bool goes_on;
        std::string error;
    };
    for (const Row& row :
         {Row{"in order", frame(GOAWAY, 0, 0, number(1) + number(0)), true, ""},
          Row{"with an error", frame(GOAWAY, 0, 0, number(1) + number(2) + "because"), false, "h2 failed: "},
          Row{"that never took the stream", frame(GOAWAY, 0, 0, number(0) + number(0)), false, "REFUSED_STREAM"},
          Row{"by a reset", frame(RST_STREAM, 0, 1, number(2)), false, "INTERNAL_ERROR"},
          Row{"with a promise", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + "\x88"), false, "PROTOCOL_ERROR"},
          Row{"with a second answer that is none", frame(HEADERS, END_HEADERS, 1, block({{":status", "200"}})), false,
              "PROTOCOL_ERROR"}}) {
        CAPTURE(row.name);
        world.mark();
        Connection app = world.client.dial(target);
        app.send("hello");
        HostilePeer peer = server.accept();
        REQUIRE(peer.next(HEADERS));
        peer.send(HEADERS, END_HEADERS, 1, "\x88");
        const auto said = peer.next(DATA);
        REQUIRE(said);
        CHECK(said->payload == "hello");
        peer.send(row.frames);
        if (row.goes_on) {
            peer.send(DATA, 0, 1, "still here");
            CHECK(app.receive(10) == "still here");
            app.end_sending();
            peer.send(DATA, END_STREAM, 1, "");
            CHECK(app.ending() == "end");
        } else {
            if (row.name == "with an error") peer.tcp().close();
            CHECK(app.ending() == "reset");
            CHECK(logged(world.one, row.error));
        }
    }
    bystander.check();
}

TEST_CASE("hostile: a server whose answer is none, or comes after its bytes" IPV4) {
    World& world = World::shared();
    Bystander bystander{world};
    FalsePod server{world};
    const SocketAddress target = world.down.at(v4, 8080);
    std::string hints;
    for (int i = 0; i < 400; ++i)
        hints += frame(HEADERS, END_HEADERS, 1, block({{":status", "103"}, {"link", std::string(100, 'x')}}));
    for (const auto& [name, frames] :
         {std::pair{"bytes first", frame(DATA, 0, 1, "boo")}, std::pair{"hints without end", hints},
          std::pair{"a status of letters", frame(HEADERS, END_HEADERS, 1, block({{":status", "abc"}}))},
          std::pair{"no status", frame(HEADERS, END_HEADERS, 1, block({{"link", "x"}}))},
          std::pair{"headers of 20 KB",
                    frame(HEADERS, END_HEADERS, 1, block({{":status", "200"}, {"link", std::string(20'000, 'x')}}))}}) {
        CAPTURE(name);
        Connection app = world.client.dial(target);
        HostilePeer peer = server.accept(setting(5, 65536));
        REQUIRE(peer.next(HEADERS));
        peer.try_send(frames);
        CHECK(app.ending() == "reset");
    }
    bystander.check();
}

}
