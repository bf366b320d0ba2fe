// SPDX-License-Identifier: Apache-2.0
// Bytes: both directions, ends, windows.
#include <unistd.h>

#include <fstream>

#include "fixtures.hpp"
#include "raw_peer.hpp"

using namespace fixtures;

namespace {

std::size_t resident() {
    std::ifstream file{"/proc/self/statm"};
    std::size_t total = 0, pages = 0;
    file >> total >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Two talkers, one per end of one stream.
struct Pair {
    Talker client, server;
    bool calm() const { return client.reset.empty() && server.reset.empty() && !client.corrupt && !server.corrupt; }
};

Task<> join(World& w, Pair& pair) {
    w.answer = [&pair](hbone::Incoming incoming) { pair.server.start(incoming.accept({})); };
    auto stream = co_await w.open();
    CHECK(stream.has_value());
    if (stream) pair.client.start(std::move(*stream));
}

Task<> both_at_once(World& w, std::uint64_t bytes) {
    Pair pair;
    pair.client.to_send = pair.server.to_send = bytes;
    co_await join(w, pair);
    bool done = co_await w.until([&] { return (pair.client.done() && pair.server.done()) || !pair.calm(); }, 60s);
    CHECK(done);
    CHECK(pair.calm());
    CHECK(pair.client.received == bytes);
    CHECK(pair.server.received == bytes);
}

Task<> client_ends_first(World& w) {
    Pair pair;
    pair.server.then_end = false;
    pair.client.to_send = 10;
    co_await join(w, pair);
    co_await w.until([&] { return pair.server.got_end; });
    CHECK(pair.client.sent_end);
    pair.server.say(5'000'000);
    co_await w.until([&] { return pair.client.received == 5'000'000; });
    CHECK(!pair.client.got_end);
    pair.server.finish();
    bool ended = co_await w.until([&] { return pair.client.done() && pair.server.done(); });
    CHECK(ended);
    CHECK(pair.calm());
}

Task<> server_ends_first(World& w) {
    Pair pair;
    pair.client.then_end = false;
    pair.server.to_send = 10;
    co_await join(w, pair);
    co_await w.until([&] { return pair.client.got_end; });
    CHECK(pair.client.received == 10);
    pair.client.say(5'000'000);
    co_await w.until([&] { return pair.server.received == 5'000'000; });
    CHECK(!pair.server.got_end);
    pair.client.finish();
    bool ended = co_await w.until([&] { return pair.client.done() && pair.server.done(); });
    CHECK(ended);
    CHECK(pair.calm());
}

Task<> server_speaks(World& w) {
    Pair pair;
    pair.server.to_send = 100'000;
    pair.client.then_end = false;
    w.answer = [&pair](hbone::Incoming incoming) { pair.server.start(incoming.accept({})); };
    auto stream = co_await w.open();
    co_await base::sleep_for(w.loop, 30ms);  // all of it is there before anybody listens
    pair.client.start(std::move(*stream));
    CHECK(pair.client.received == 100'000);
    CHECK(pair.client.got_end);
    CHECK(pair.client.batches == 1);
    pair.client.finish();
    bool ended = co_await w.until([&] { return pair.server.done(); });
    CHECK(ended);
}

Task<> slow_reader(World& w, std::uint32_t window) {
    Pair pair;
    pair.server.reads = false;
    pair.client.to_send = 200'000'000;
    co_await join(w, pair);
    co_await w.until([&] { return pair.server.received >= window; });
    auto rounds = w.loop.rounds();
    auto before = resident();
    co_await base::sleep_for(w.loop, 200ms);
    CHECK(pair.client.sent == window);
    CHECK(pair.server.received == window);
    CHECK(w.loop.rounds() - rounds < 10);  // nobody spins on a closed window
    CHECK(resident() < before + 1'000'000);
    // A second stream on the tunnel does not suffer.
    Talker other;
    w.answer = nullptr;
    auto stream = co_await w.open();
    CHECK(stream.has_value());
    other.to_send = 1000;
    other.start(std::move(*stream));
    bool passed = co_await w.until([&] { return other.done(); });
    CHECK(passed);
    CHECK(w.dials == 1);
    pair.server.read_again();
    co_await w.until([&] { return pair.server.received >= 3 * std::uint64_t{window}; });
    CHECK(pair.server.received >= 3 * std::uint64_t{window});
    CHECK(pair.calm());
}

// A peer that gives all the window there is and then does not read its socket.
Task<> stuck_socket(World& w) {
    Talker talker;
    talker.to_send = 30'000'000;
    w.answer = [&](hbone::Incoming incoming) { talker.start(incoming.accept({})); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(SETTINGS, 0, 0, std::string{"\x00\x04\x7f\xff\xff\xff", 6});
    peer->send(WINDOW_UPDATE, 0, 0, bytes_of(0x7fff0000 - 65535));
    co_await peer->next(WINDOW_UPDATE);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    std::uint64_t seen = 1;
    co_await w.until([&] { return std::exchange(seen, talker.sent) == talker.sent && seen > 0; });
    auto before = resident();
    auto rounds = w.loop.rounds();
    co_await base::sleep_for(w.loop, 200ms);
    CHECK(talker.sent == seen);
    CHECK(talker.sent < talker.to_send);
    CHECK(w.loop.rounds() - rounds < 10);
    CHECK(resident() < before + 1'000'000);
    peer->send(PING, 0, 0, "12345678");  // is read although we cannot answer yet
    std::uint64_t received = 0;
    bool pong = false, end = false;
    while (!end) {
        auto frame = co_await peer->next();
        if (!frame) break;
        pong |= frame->type == PING;
        if (frame->type != DATA) continue;
        for (char c : frame->payload) talker.corrupt |= static_cast<std::byte>(c) != pattern(received++);
        end = frame->flags & END_STREAM;
    }
    CHECK(pong);
    CHECK(received == talker.to_send);
    CHECK(!talker.corrupt);
}

// The same, and it asks for thousands of answers meanwhile: we stop reading rather than keep them all.
Task<> stuck_and_asking(World& w) {
    Talker talker;
    talker.to_send = 30'000'000;
    talker.then_end = false;
    std::vector<hbone::Incoming> kept;
    w.answer = [&](hbone::Incoming incoming) {
        if (!talker.stream)
            talker.start(incoming.accept({}));
        else
            kept.push_back(std::move(incoming));
    };
    auto peer = co_await RawPeer::connected(w);
    peer->send(SETTINGS, 0, 0, std::string{"\x00\x04\x7f\xff\xff\xff", 6});
    peer->send(WINDOW_UPDATE, 0, 0, bytes_of(0x7fff0000 - 65535));
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    std::uint64_t seen = 1;
    co_await w.until([&] { return std::exchange(seen, talker.sent) == talker.sent && seen > 0; });
    talker.to_send = seen;  // so that all that waits can leave in one go
    // Their SETTINGS are not acknowledged, so the surplus is refused and no error.
    std::string requests;
    for (std::uint32_t i = 0; i < 6000; ++i) {
        std::string block = connect_to("10.0.0.7:80");
        requests += bytes_of(static_cast<std::uint32_t>(block.size()) << 8 | HEADERS);
        requests += static_cast<char>(END_HEADERS) + bytes_of(3 + 2 * i) + block;
    }
    peer->send_raw(requests);
    peer->send(PING, 0, 0, "the last");
    co_await base::sleep_for(w.loop, 50ms);
    CHECK(kept.size() == 199);
    auto listens = Loop::Clock::now();
    int refused = 0;
    bool pong = false;
    while (refused < 6000 - 199 || !pong) {
        auto frame = co_await peer->next();
        CHECK(frame.has_value());
        if (!frame) break;
        pong |= frame->type == PING;
        refused += frame->type == RST_STREAM;
    }
    CHECK(refused == 6000 - 199);
    CHECK(pong);
    CHECK(Loop::Clock::now() - listens < 5s);  // and not because a ping came by
    kept.clear();
}

// Many streams that nobody reads use the connection's window up; those that end give it back.
Task<> abandoned_bytes(World& w) {
    for (int i = 0; i < 12; ++i) {
        Pair pair;
        pair.server.reads = false;
        pair.client.to_send = 4u << 20;
        co_await join(w, pair);
        bool came = co_await w.until([&] { return pair.server.received == 4u << 20; });
        CHECK(came);
    }
    CHECK(w.dials == 1);
}

Task<> trickle(World& w) {
    Pair pair;
    pair.client.then_end = false;
    pair.server.then_end = false;
    co_await join(w, pair);
    for (int i = 0; i < 200; ++i) {
        pair.client.say(1 + i);
        pair.server.say(1);
        co_await w.until([&] { return pair.server.received == pair.client.to_send && pair.client.received == i + 1u; });
    }
    CHECK(pair.server.received == 200 * 201 / 2);
    CHECK(pair.client.fills <= 201);
    CHECK(pair.server.fills <= 201);  // nobody is asked again before it wants to send
    CHECK(pair.calm());
}

}

TEST_SUITE("hbone") {

TEST_CASE("flow: 64 MiB each way at once arrive whole") {
    World w;
    w.play(both_at_once(w, 64u << 20));
}

TEST_CASE("flow: windows far smaller than the data hold nothing up") {
    hbone::Settings narrow{.stream_window = 70'000, .connection_window = 100'000, .max_frame = 16384};
    World w{narrow, narrow};
    w.play(both_at_once(w, 3'000'000));
}

TEST_CASE("flow: the client ends its direction and still gets the server's bytes") {
    World w;
    w.play(client_ends_first(w));
}

TEST_CASE("flow: the server ends its direction and still gets the client's bytes") {
    World w;
    w.play(server_ends_first(w));
}

TEST_CASE("flow: a server that speaks first is heard by a user who comes later") {
    World w;
    w.play(server_speaks(w));
}

TEST_CASE("flow: with a reader that stalls the sender stops at the window, and others go on") {
    World w;
    w.play(slow_reader(w, 4u << 20));
}

TEST_CASE("flow: with a peer that does not read its socket nothing grows, and nothing is lost") {
    World w;
    w.play(stuck_socket(w));
}

TEST_CASE("flow: with a peer that asks and does not listen we stop reading, and go on when it does") {
    World w;
    w.play(stuck_and_asking(w));
}

TEST_CASE("flow: what an ended stream never read does not stay on the connection's window") {
    World w;
    w.play(abandoned_bytes(w));
}

TEST_CASE("flow: small messages go back and forth, one frame each") {
    World w;
    w.play(trickle(w));
}

}
