// SPDX-License-Identifier: Apache-2.0
// How streams and tunnels end, and what each side is told.
#include "raw_peer.hpp"

using namespace fixtures;

namespace {

Task<> open(World& w, Opening& opening) {
    return opening.wait(w.open());
}

// A stream to a peer made by hand, which has answered 200.
struct Hand {
    Opening opening;
    std::unique_ptr<RawPeer> peer;
    Talker talker;
};

Task<> join(World& w, Hand& hand) {
    w.tasks.spawn(open(w, hand.opening));
    hand.peer = co_await RawPeer::accepted(w);
    co_await hand.peer->take(preface.size());
    hand.peer->send(SETTINGS, 0, 0);
    co_await hand.peer->next(HEADERS);
    hand.peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return hand.opening.over; });
    CHECK(hand.opening.error == "");
    hand.talker.then_end = false;
    hand.talker.start(std::move(hand.opening.stream));
}

Task<> friendly_reset(World& w, std::uint32_t code) {
    Hand hand;
    co_await join(w, hand);
    hand.peer->send(DATA, 0, 1, std::string{static_cast<char>(pattern(0))});
    hand.peer->send(RST_STREAM, 0, 1, bytes_of(code));
    co_await w.until([&] { return hand.talker.got_end; });
    CHECK(hand.talker.received == 1);
    CHECK(hand.talker.reset == "");
    hand.talker.say(1);
    co_await w.until([&] { return !hand.talker.reset.empty(); });
    CHECK(hand.talker.reset == "io error: broken pipe");

    Hand quiet;  // one that had nothing more to say is not bothered
    w.pool->retire("pod-1", true);
    co_await join(w, quiet);
    quiet.peer->send(RST_STREAM, 0, 1, bytes_of(code));
    co_await w.until([&] { return quiet.talker.got_end; });
    quiet.talker.finish();
    co_await w.until([&] { return quiet.talker.sent_end; });
    CHECK(quiet.talker.done());
    CHECK(quiet.talker.reset == "");
}

// The peer resets a stream whose window it had let run full: nobody will ever ask for its bytes again.
Task<> friendly_reset_of_a_full_window(World& w, std::uint32_t code) {
    constexpr std::uint64_t window = 65535;
    Hand hand;
    co_await join(w, hand);
    hand.talker.say(10 * window);
    co_await w.until([&] { return hand.talker.sent == window; });
    CHECK(hand.talker.sent == window);
    hand.peer->send(RST_STREAM, 0, 1, bytes_of(code));
    co_await w.until([&] { return !hand.talker.reset.empty(); }, 2s);
    CHECK(hand.talker.got_end);
    CHECK(hand.talker.reset == "io error: broken pipe");
}

Task<> hostile_reset(World& w, std::uint32_t code, const char* expected) {
    Hand hand;
    co_await join(w, hand);
    hand.peer->send(RST_STREAM, 0, 1, bytes_of(code));
    co_await w.until([&] { return !hand.talker.reset.empty(); });
    CHECK(hand.talker.reset == expected);
    CHECK(!hand.talker.got_end);
}

Task<> we_reset(World& w) {
    Hand hand;
    co_await join(w, hand);
    hand.talker.stream = {};
    auto reset = co_await hand.peer->next(RST_STREAM);
    CHECK(number_of(reset->payload) == 8);
    Hand second;
    w.pool->retire("pod-1", true);
    co_await join(w, second);
    second.talker.stream.reset(2);
    reset = co_await second.peer->next(RST_STREAM);
    CHECK(number_of(reset->payload) == 2);
    CHECK(second.talker.reset == "");
}

Task<> cut(World& w, const char* how, const char* expected) {
    Hand hand;
    co_await join(w, hand);
    hand.peer->send(DATA, 0, 1, std::string{static_cast<char>(pattern(0))});
    std::string_view manner = how;
    if (manner == "goaway")
        hand.peer->send(GOAWAY, 0, 0,
                        bytes_of(1) + bytes_of(11) +
                            "too_many\x01"
                            "data_frames");
    if (manner == "garbage") hand.peer->send(HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    if (manner == "close_notify" || manner == "goaway") hand.peer->close_notify();
    if (manner == "reset") hand.peer->socket->close_with_reset(true);
    if (manner == "garbage") {
        auto farewell = co_await hand.peer->next(GOAWAY);
        CHECK(number_of(farewell->payload, 4) == 9);
    }
    if (manner == "reset")
        hand.peer.reset();
    else
        hand.peer->socket->finish_writing();
    co_await w.until([&] { return !hand.talker.reset.empty(); });
    CHECK(hand.talker.reset == expected);
    CHECK(!hand.talker.got_end);
    co_await w.until([&] { return w.pool->empty(); });
    CHECK(w.pool->empty());
    CHECK(w.pool->stats().live == 0);
}

// GOAWAY while a stream is alive: it goes on, and the next one gets another tunnel.
Task<> goaway_in_mid_stream(World& w) {
    Hand hand;
    co_await join(w, hand);
    hand.peer->send(GOAWAY, 0, 0, bytes_of(0x7fffffff) + bytes_of(0));
    hand.peer->send(GOAWAY, 0, 0, bytes_of(1) + bytes_of(0));
    hand.talker.say(3);
    auto data = co_await hand.peer->next(DATA);
    CHECK(data->payload.size() == 3);
    auto other = co_await w.open();  // to the World's own server
    CHECK(other.has_value());
    CHECK(w.dials == 2);
    hand.talker.finish();
    hand.peer->send(DATA, END_STREAM, 1);
    co_await w.until([&] { return hand.talker.done(); });
    hand.talker.stream = {};
    auto farewell = co_await hand.peer->next(GOAWAY);
    CHECK(farewell.has_value());
    auto nothing = co_await hand.peer->next();
    CHECK(!nothing);
    CHECK(hand.peer->said_goodbye);
    CHECK(hand.talker.reset == "");
}

// A request that meets a tunnel about to go is asked again on another one, once.
Task<> asked_again(World& w, const char* how, int times, const char* expected) {
    Hand warm;
    co_await join(w, warm);
    Opening opening;
    w.tasks.spawn(open(w, opening));
    auto request = co_await warm.peer->next(HEADERS);
    CHECK(request->stream == 3);
    std::string_view manner = how;
    if (manner == "GOAWAY") warm.peer->send(GOAWAY, 0, 0, bytes_of(1) + bytes_of(0));
    if (manner == "REFUSED_STREAM") warm.peer->send(RST_STREAM, 0, 3, bytes_of(7));
    if (manner == "close") warm.peer.reset();
    if (times == 2) {
        auto peer = co_await RawPeer::accepted(w);
        co_await peer->take(preface.size());
        peer->send(SETTINGS, 0, 0);
        co_await peer->next(HEADERS);
        peer->send(RST_STREAM, 0, 1, bytes_of(7));
        co_await w.until([&] { return opening.over; });
    }
    co_await w.until([&] { return opening.over; });
    CHECK(opening.over);
    CHECK(opening.error == expected);
    CHECK(w.dials == 2);
}

// The server drains: both GOAWAYs, the stream ends in peace, then close_notify.
// The answer to drain()'s PING, from a peer that has not been asked.
Task<> answered_unasked(World& w) {
    auto peer = co_await RawPeer::connected(w);
    peer->send(PING, ACK, 0, "culvert!");
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    std::uint8_t type = SETTINGS;
    while (type != HEADERS && type != GOAWAY) {
        auto frame = co_await peer->next();
        CHECK(frame);
        if (!frame) co_return;
        type = frame->type;
    }
    CHECK(type == HEADERS);
}

Task<> server_drains(World& w) {
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    co_await peer->next(HEADERS);
    w.server->drain();
    auto notice = co_await peer->next(GOAWAY);
    CHECK(number_of(notice->payload) == 0x7fffffff);
    // This one was on its way.
    peer->send(HEADERS, END_HEADERS, 3, connect_to("10.0.0.7:80"));
    auto second = co_await peer->next(GOAWAY);  // answers the PING between them
    CHECK(number_of(second->payload) == 3);
    CHECK(number_of(second->payload, 4) == 0);
    peer->send(DATA, END_STREAM, 1, "bye");
    peer->send(DATA, END_STREAM, 3, "bye");
    for (int ends = 0; ends < 2;) {
        auto data = co_await peer->next(DATA);
        if (!data) break;
        if (data->flags & END_STREAM) ++ends;
    }
    auto nothing = co_await peer->next();
    CHECK(!nothing);
    CHECK(peer->said_goodbye);
    CHECK(w.server->tunnels() == 1);  // until we close too, or for two seconds
    peer.reset();
    co_await w.until([&] { return w.server->tunnels() == 0; });
    CHECK(w.server_ends == std::vector<std::string>{""});
}

Task<> both_drain(World& w) {
    auto stream = co_await w.open();
    Talker talker;
    talker.then_end = false;
    talker.start(std::move(*stream));
    w.server->drain();
    w.pool->drain();
    auto late = co_await w.open();
    CHECK(!late);
    if (!late) CHECK(late.error().to_string() == "pool draining");
    talker.say(100'000);
    co_await w.until([&] { return talker.received == 100'000; });
    CHECK(w.server->tunnels() == 1);
    talker.finish();
    co_await w.until([&] { return talker.done(); });
    bool ended = co_await w.until([&] { return w.pool->empty() && w.server->tunnels() == 0; });
    CHECK(ended);
    CHECK(talker.reset == "");
    CHECK(w.server_ends == std::vector<std::string>{""});
}

Task<> cut_by_us(World& w) {
    std::string server_saw;
    Talker server, client;
    server.then_end = client.then_end = false;
    w.answer = [&](hbone::Incoming incoming) { server.start(incoming.accept({})); };
    auto stream = co_await w.open();
    client.start(std::move(*stream));
    co_await w.until([&] { return static_cast<bool>(server.stream); });
    w.pool->retire("another pod", true);
    CHECK(client.reset == "");
    w.pool->retire("pod-1", true);
    CHECK(client.reset == "connection closed due to connection drain");
    CHECK(w.pool->empty());
    co_await w.until([&] { return !server.reset.empty(); });
    CHECK(server.reset == "h2 failed: the peer closed the tunnel");
    co_await w.until([&] { return w.server->tunnels() == 0; });
    CHECK(w.server->tunnels() == 0);
}

// The stream goes while its session is in the middle of something, and with it the last that holds the session.
Task<> gone_inside(World& w, bool on_data) {
    Talker client;
    w.answer = [&](hbone::Incoming incoming) {
        w.echoes.push_back(std::make_unique<Echo>());
        w.echoes.back()->start(incoming.accept({}));
    };
    auto stream = co_await w.open();
    client.gone_on_data = on_data;
    client.gone_on_end = !on_data;
    client.to_send = 300'000;
    client.start(std::move(*stream));
    w.pool->drain();
    co_await w.until([&] { return !client.stream; });
    CHECK(!client.stream);
    bool ended = co_await w.until([&] { return w.pool->empty(); });
    CHECK(ended);
    CHECK(client.reset == "");
    CHECK(!client.corrupt);
}

// A user whose callback ends everything there is.
struct Wrecker final : hbone::StreamUser {
    World& w;
    hbone::Stream stream;
    std::string reset;
    explicit Wrecker(World& world) : w{world} {}
    Filled fill(std::span<std::byte>) override {
        wreck();
        return {};
    }
    void on_data(std::span<const std::byte>) override { wreck(); }
    void on_batch_end() override { stream = {}; }
    void on_end() override {}
    void on_reset(const base::Error& why) override {
        reset = why.to_string();
        stream = {};
    }
    void wreck() {
        if (all)
            w.pool.reset();
        else
            w.pool->retire("pod-1", true);
    }
    bool all = false;
};

Task<> wrecked(World& w, bool in_fill, bool all) {
    w.answer = [&](hbone::Incoming incoming) {
        w.echoes.push_back(std::make_unique<Echo>());
        w.echoes.back()->start(incoming.accept({}));
    };
    Talker bystander;
    bystander.then_end = false;
    auto first = co_await w.open();
    bystander.start(std::move(*first));
    Wrecker wrecker{w};
    wrecker.all = all;
    if (!in_fill) {
        Talker server;
        server.to_send = 10;
        w.answer = [&](hbone::Incoming incoming) { server.start(incoming.accept({})); };
        auto second = co_await w.open();
        wrecker.stream = std::move(*second);
        wrecker.stream.attach(wrecker);
        co_await w.until([&] { return !bystander.reset.empty(); });
    } else {
        auto second = co_await w.open();
        wrecker.stream = std::move(*second);
        wrecker.stream.attach(wrecker);
        wrecker.stream.want_to_send();
        co_await w.until([&] { return !bystander.reset.empty(); });
    }
    CHECK(bystander.reset == "connection closed due to connection drain");
    if (!all) CHECK(w.pool->empty());
    CHECK(!wrecker.stream);
}

// In the very round in which our side of the handshake is done: nothing of HTTP/2 has been said yet.
Task<> cut_before_the_preface(World& w) {
    Opening opening;
    w.tasks.spawn(open(w, opening));
    auto accepting = RawPeer::accepted(w);
    base::Timer every_round{w.loop, [&] {
                                if (w.pool->stats().live > 0) w.pool->retire("pod-1", true);
                                every_round.arm(0ms);
                            }};
    every_round.arm(0ms);
    auto peer = co_await std::move(accepting);
    std::string said = co_await peer->take(1);
    CHECK(said.empty());
    co_await w.until([&] { return opening.over; });
}

}

TEST_SUITE("hbone") {

TEST_CASE("end: a reset that means no harm reads as an end, and only more bytes find the pipe broken") {
    for (std::uint32_t code : {0u, 8u}) {
        CAPTURE(code);
        World w;
        w.play(friendly_reset(w, code));
    }
}

TEST_CASE("end: a reset that means no harm finds out at once who waits with bytes for a full window") {
    for (std::uint32_t code : {0u, 8u}) {
        CAPTURE(code);
        World w;
        w.play(friendly_reset_of_a_full_window(w, code));
    }
}

TEST_CASE("end: a reset that means harm is told by name") {
    struct Row {
        std::uint32_t code;
        const char* expected;
    };
    for (const Row& row : {Row{2, "h2 failed: stream error received: INTERNAL_ERROR"},
                           Row{11, "h2 failed: stream error received: ENHANCE_YOUR_CALM"},
                           Row{99, "h2 failed: stream error received: code 99"}, Row{5, "io error: broken pipe"}}) {
        CAPTURE(row.code);
        World w;
        w.play(hostile_reset(w, row.code, row.expected));
    }
}

TEST_CASE("end: a stream that is dropped is cancelled, and one that is reset says why") {
    World w;
    w.play(we_reset(w));
}

TEST_CASE("end: a tunnel that breaks tells its streams how") {
    struct Row {
        const char* how;
        const char* expected;
    };
    for (const Row& row :
         {Row{"FIN", "h2 failed: the peer closed the tunnel without close_notify"},
          Row{"close_notify", "h2 failed: the peer closed the tunnel"},
          Row{"reset", "io error: Connection reset by peer (os error 104)"},
          Row{"goaway", "h2 failed: connection error received: ENHANCE_YOUR_CALM (too_many?data_frames)"},
          Row{"garbage", "h2 failed: COMPRESSION_ERROR"}}) {
        CAPTURE(row.how);
        World w;
        w.play(cut(w, row.how, row.expected));
    }
}

TEST_CASE("end: a tunnel that is cut before its preface says no GOAWAY") {
    World w;
    w.play(cut_before_the_preface(w));
}

TEST_CASE("end: after GOAWAY a live stream goes on, the next takes another tunnel, and we say goodbye") {
    World w;
    w.play(goaway_in_mid_stream(w));
}

TEST_CASE("end: a request that meets a tunnel going away is asked once more") {
    struct Row {
        const char* how;
        int times;
        const char* expected;
    };
    for (const Row& row : {Row{"GOAWAY", 1, ""}, Row{"REFUSED_STREAM", 1, ""}, Row{"close", 1, ""},
                           Row{"REFUSED_STREAM", 2, "h2 failed: stream error received: REFUSED_STREAM"}}) {
        CAPTURE(row.how);
        CAPTURE(row.times);
        World w;
        w.play(asked_again(w, row.how, row.times, row.expected));
    }
}

TEST_CASE("end: a server drains in two steps and leaves with close_notify") {
    World w;
    w.play(server_drains(w));
}

TEST_CASE("end: an answer to a PING that was never sent says nothing") {
    World w;
    w.play(answered_unasked(w));
}

TEST_CASE("end: both sides drain, and the last stream ends in peace") {
    World w;
    w.play(both_drain(w));
}

TEST_CASE("end: a retired pod's tunnels are cut at once when asked, and both sides hear of it") {
    World w;
    w.play(cut_by_us(w));
}

TEST_CASE("end: a user may destroy its stream in the middle of a batch") {
    for (bool on_data : {true, false}) {
        CAPTURE(on_data);
        World w;
        w.play(gone_inside(w, on_data));
    }
}

TEST_CASE("end: a user may end the whole tunnel from inside a callback") {
    for (bool in_fill : {true, false})
        for (bool all : {true, false}) {
            CAPTURE(in_fill);
            CAPTURE(all);
            World w;
            w.play(wrecked(w, in_fill, all));
        }
}

}
