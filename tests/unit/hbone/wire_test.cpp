// SPDX-License-Identifier: Apache-2.0
// What is on the wire, seen by a peer that counts bytes.
#include <nghttp2/nghttp2.h>

#include "raw_peer.hpp"

using namespace fixtures;

namespace {

std::string setting(std::uint16_t id, std::uint32_t value) {
    return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + bytes_of(value);
}

std::vector<std::string> headers_of(const std::string& block) {
    std::vector<std::string> headers;
    nghttp2_hd_inflater* inflater = nullptr;
    nghttp2_hd_inflate_new(&inflater);
    std::string rest = block;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        auto n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, reinterpret_cast<const std::uint8_t*>(rest.data()),
                                        rest.size(), 1);
        if (n < 0) break;
        rest.erase(0, static_cast<std::size_t>(n));
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            headers.push_back(std::string{reinterpret_cast<char*>(nv.name), nv.namelen} + "=" +
                              std::string{reinterpret_cast<char*>(nv.value), nv.valuelen});
        if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
    }
    nghttp2_hd_inflate_del(inflater);
    return headers;
}

Task<> open(World& w, Opening& opening) {
    return opening.wait(w.open("10.71.2.30:8080"));
}

Task<> client_hello(World& w) {
    Opening opening;
    w.tasks.spawn(open(w, opening));
    auto peer = co_await RawPeer::accepted(w);
    auto magic = co_await peer->take(preface.size());
    CHECK(magic == preface);
    auto settings = co_await peer->next();
    CHECK(settings->type == SETTINGS);
    CHECK(settings->payload == setting(2, 0) + setting(4, 4194304) + setting(5, 1048576) + setting(6, 16384));
    auto update = co_await peer->next();
    CHECK(update->type == WINDOW_UPDATE);
    CHECK(update->stream == 0);
    CHECK(number_of(update->payload) == 16711681);
    // Before we have said anything at all.
    auto request = co_await peer->next();
    CHECK(request->type == HEADERS);
    CHECK(request->stream == 1);
    CHECK(request->flags == END_HEADERS);
    CHECK(headers_of(request->payload) ==
          std::vector<std::string>{":method=CONNECT", ":authority=10.71.2.30:8080", "baggage=k8s.namespace.name=test",
                                   "forwarded=for=\"10.0.0.1:1234\"",
                                   "traceparent=00-05a3dbbb44546c257e640dbadbc8b594-601cc292722faf80-00"});
    peer->send(SETTINGS, 0, 0);
    peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error == "");

    Talker talker;
    talker.to_send = 5;
    talker.then_end = false;
    talker.start(std::move(opening.stream));
    auto data = co_await peer->next(DATA);
    CHECK(data->payload.size() == 5);
    CHECK(data->flags == 0);
    talker.finish();
    data = co_await peer->next();
    CHECK(data->type == DATA);
    CHECK(data->payload.empty());
    CHECK(data->flags == END_STREAM);
    peer->send(DATA, END_STREAM, 1);
    co_await w.until([&] { return talker.done(); });
    CHECK(talker.reset == "");
}

Task<> frame_size(World& w, std::uint32_t limit, std::size_t expected) {
    Opening opening;
    w.tasks.spawn(open(w, opening));
    auto peer = co_await RawPeer::accepted(w);
    co_await peer->take(preface.size());
    peer->send(SETTINGS, 0, 0, setting(5, limit) + setting(4, 1u << 20));
    peer->send(WINDOW_UPDATE, 0, 0, bytes_of(1u << 20));
    peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return opening.over; });
    Talker talker;
    talker.to_send = 500'000;
    talker.start(std::move(opening.stream));
    std::size_t largest = 0, total = 0, frames = 0;
    while (total < 500'000) {
        auto data = co_await peer->next(DATA);
        if (!data) break;
        largest = std::max(largest, data->payload.size());
        total += data->payload.size();
        ++frames;
    }
    CHECK(total == 500'000);
    CHECK(largest == expected);
    CHECK(frames <= 500'000 / expected + 4);
}

Task<> server_hello(World& w) {
    auto peer = co_await RawPeer::connected(w);
    auto settings = co_await peer->next();
    CHECK(settings->type == SETTINGS);
    CHECK(settings->payload ==
          setting(3, 200) + setting(4, 4194304) + setting(5, 1048576) + setting(6, 65536) + setting(0xf0c7, 1));
    auto update = co_await peer->next(WINDOW_UPDATE);
    CHECK(number_of(update->payload) == 16711681);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    auto answer = co_await peer->next(HEADERS);
    CHECK(answer->flags == END_HEADERS);
    CHECK(headers_of(answer->payload) == std::vector<std::string>{":status=200", "baggage=k8s.namespace.name=test"});
}

Task<> refused(World& w) {
    w.answer = [](hbone::Incoming incoming) { incoming.refuse(401); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    peer->send(DATA, 0, 1, "too early");
    auto answer = co_await peer->next(HEADERS);
    CHECK(answer->flags == (END_HEADERS | END_STREAM));
    CHECK(headers_of(answer->payload) == std::vector<std::string>{":status=401"});
    auto reset = co_await peer->next();
    CHECK(reset->type == RST_STREAM);
    CHECK(number_of(reset->payload) == 0);
    // Nobody answers the next one: dropping it is a 503.
    w.answer = [](hbone::Incoming) {};
    peer->send(HEADERS, END_HEADERS | END_STREAM, 3, connect_to("10.0.0.7:80"));
    answer = co_await peer->next(HEADERS);
    CHECK(headers_of(answer->payload) == std::vector<std::string>{":status=503"});
    // Its direction was over: no RST.
    peer->send(PING, 0, 0, "12345678");
    auto pong = co_await peer->next();
    CHECK(pong->type == PING);
}

Task<> odd_requests(World& w) {
    std::vector<std::string> seen;
    w.answer = [&seen](hbone::Incoming incoming) {
        seen.push_back(incoming.method() + " " + incoming.request().authority);
        incoming.refuse(400);
    };
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("nonsense"));
    // :method GET, :scheme https, :path / by index.
    peer->send(HEADERS, END_HEADERS | END_STREAM, 3,
               "\x82\x87\x84\x01\x03"
               "a:1");
    for (int i = 0; i < 2; ++i) {
        auto answer = co_await peer->next(HEADERS);
        CHECK(headers_of(answer->payload) == std::vector<std::string>{":status=400"});
    }
    CHECK(seen == std::vector<std::string>{"CONNECT nonsense", "GET a:1"});
}

Task<> data_before_the_answer(World& w) {
    std::vector<hbone::Incoming> waiting;
    w.answer = [&waiting](hbone::Incoming incoming) { waiting.push_back(std::move(incoming)); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    std::string early;
    for (std::size_t i = 0; i < 1000; ++i) early += static_cast<char>(pattern(i));
    peer->send(DATA, 0, 1, early);
    peer->send(DATA, END_STREAM, 1);
    peer->send(PING, 0, 0, "12345678");
    co_await peer->next(PING);
    CHECK(waiting.size() == 1);
    CHECK(!waiting[0].gone());
    Talker talker;
    talker.start(waiting[0].accept({}));
    CHECK(talker.received == 1000);
    CHECK(talker.got_end);
    CHECK(!talker.corrupt);
    auto answer = co_await peer->next(HEADERS);
    CHECK(headers_of(answer->payload) == std::vector<std::string>{":status=200"});
    // A request that is reset before the answer: whoever decides can see it.
    peer->send(HEADERS, END_HEADERS, 3, connect_to("10.0.0.7:80"));
    peer->send(PING, 0, 0, "12345678");
    co_await peer->next(PING);
    peer->send(RST_STREAM, 0, 3, bytes_of(8));
    peer->send(PING, 0, 0, "12345678");
    co_await peer->next(PING);
    CHECK(waiting.size() == 2);
    CHECK(waiting[1].gone());
    waiting.clear();
}

// Frames that a peer can make us hold on to are bounded.
Task<> greedy(World& w) {
    std::vector<hbone::Incoming> waiting;
    w.answer = [&waiting](hbone::Incoming incoming) { waiting.push_back(std::move(incoming)); };
    auto peer = co_await RawPeer::connected(w);
    // Opening and resetting leaves Incoming behind with whoever decides; not without end.
    for (std::uint32_t i = 0; i < 600; ++i) {
        peer->send(HEADERS, END_HEADERS, 2 * i + 1, connect_to("10.0.0.7:80"));
        peer->send(PING, 0, 0, "12345678");
        co_await peer->next(PING);
        peer->send(RST_STREAM, 0, 2 * i + 1, bytes_of(8));
    }
    CHECK(waiting.size() == 400);
    waiting.clear();
    // 70 KB of headers are over the 64 KiB that we announced.
    std::string block = connect_to("10.0.0.7:80");
    std::string large = block;
    for (int i = 0; i < 35; ++i) large += std::string{"\x00\x01", 2} + "x" + "\x7f\x81\x0e" + std::string(1920, 'v');
    peer->send(HEADERS, 0, 2001, large.substr(0, 16'000));
    for (std::size_t at = 16'000; at < large.size(); at += 16'000)
        peer->send(9, at + 16'000 >= large.size() ? END_HEADERS : 0, 2001, large.substr(at, 16'000));
    std::optional<Frame> reset;
    do {
        reset = co_await peer->next(RST_STREAM);
    } while (reset && reset->stream != 2001);
    CHECK(reset.has_value());
    CHECK(waiting.empty());
    // More streams than we announced: a client that cannot count is cut off.
    for (std::uint32_t i = 0; i < 201; ++i) peer->send(HEADERS, END_HEADERS, 2003 + 2 * i, connect_to("10.0.0.7:80"));
    auto farewell = co_await peer->next(GOAWAY);
    CHECK(number_of(farewell->payload, 4) == 1);
    co_await peer->next();
    CHECK(peer->said_goodbye);
    CHECK(waiting.size() == 200);
    CHECK(waiting[0].gone());
    peer.reset();
    co_await w.until([&] { return !w.server_ends.empty(); });
    CHECK(w.server_ends == std::vector<std::string>{"h2 failed: PROTOCOL_ERROR"});
}

Task<> pings(World& w) {
    Opening opening;
    w.tasks.spawn(open(w, opening));
    auto peer = co_await RawPeer::accepted(w);
    co_await peer->take(preface.size());
    peer->send(SETTINGS, 0, 0);
    peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return opening.over; });
    Talker talker;  // stalled: its peer gives no window
    talker.to_send = 1'000'000;
    talker.start(std::move(opening.stream));
    peer->send(PING, 0, 0, "stalled?");
    int asked = 0, answered = 0;
    while (asked < 3 || answered == 0) {
        auto ping = co_await peer->next(PING);
        if (!ping) break;
        CHECK(ping->payload.size() == 8);
        if (ping->flags & ACK) {
            ++answered;
            CHECK(ping->payload == "stalled?");
        } else {
            ++asked;
            peer->send(PING, ACK, 0, ping->payload);
        }
    }
    CHECK(answered == 1);
    CHECK(talker.reset == "");
    peer->answers_pings = false;
    auto before = Loop::Clock::now();
    auto farewell = co_await peer->next(GOAWAY);
    CHECK(Loop::Clock::now() - before >= 40ms);
    CHECK(number_of(farewell->payload, 4) == 0);
    auto nothing = co_await peer->next();
    CHECK(!nothing);
    CHECK(peer->said_goodbye);
    CHECK(talker.reset == "h2 failed: the peer answered no ping in 40 ms");
    CHECK(w.pool->stats().ping_timeouts == 1);
    CHECK(w.pool->empty());
}

}

TEST_SUITE("hbone") {

TEST_CASE("wire: a client opens as ztunnel does, and its first CONNECT waits for nothing") {
    World w;
    w.play(client_hello(w));
}

TEST_CASE("wire: a server opens as ztunnel does, and answers with its baggage") {
    World w;
    w.play(server_hello(w));
}

TEST_CASE("wire: frames are as large as the peer takes, up to 64 KiB") {
    struct Row {
        const char* name;
        std::uint32_t limit;
        std::size_t expected;
    };
    for (const Row& row :
         {Row{"the peer takes 16 KiB", 16'384, 16'384}, Row{"the peer takes 1 MiB", 1u << 20, 65'536}}) {
        CAPTURE(row.name);
        World w;
        w.play(frame_size(w, row.limit, row.expected));
    }
}

TEST_CASE("wire: an error answer ends the stream, and the reset follows it") {
    World w;
    w.play(refused(w));
}

TEST_CASE("wire: requests that make no sense are handed over as they came") {
    World w;
    w.play(odd_requests(w));
}

TEST_CASE("wire: what comes before the answer waits for its user") {
    World w;
    w.play(data_before_the_answer(w));
}

TEST_CASE("wire: streams, resets and headers of a greedy peer are bounded") {
    World w;
    w.play(greedy(w));
}

TEST_CASE("wire: pings are sent, answered while flow control stalls, and missed") {
    World w{{.ping_interval = 20ms, .ping_timeout = 40ms}};
    w.play(pings(w));
}

}
