// SPDX-License-Identifier: Apache-2.0
// Bytes that travel together with a CONNECT: to peers of ours only.
#include "raw_peer.hpp"

using namespace fixtures;

namespace {

const std::string takes_first_bytes{"\xf0\xc7\0\0\0\1", 6};  // of a server's SETTINGS

std::vector<std::byte> some(std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = pattern(i);
    return bytes;
}

Task<> open(World& w, Opening& opening, std::size_t first) {
    return opening.wait(
        w.pool->open(w.key(), w.client_credentials, hbone::Request{.authority = "10.0.0.7:80"}, some(first)));
}

// Opens a tunnel, whose server says these settings.
Task<std::unique_ptr<RawPeer>> warm(World& w, Opening& opening, std::string settings) {
    w.tasks.spawn(open(w, opening, 0));
    auto peer = co_await RawPeer::accepted(w);
    co_await peer->take(preface.size());
    peer->send(SETTINGS, 0, 0, settings);
    co_await peer->next(HEADERS);
    peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return opening.over; });
    co_return peer;
}

Task<> with_the_request(World& w) {
    Opening warming, opening;
    CHECK(!w.pool->takes_first_bytes(w.key()));
    auto peer = co_await warm(w, warming, takes_first_bytes);
    CHECK(w.pool->takes_first_bytes(w.key()));
    w.tasks.spawn(open(w, opening, 100));
    co_await peer->next(HEADERS);
    auto data = co_await peer->next(DATA);
    CHECK(data->stream == 3);
    CHECK(data->payload.size() == 100);
    CHECK(!opening.over);
    peer->send(HEADERS, END_HEADERS, 3, answer_200);
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error == "");
    // What its user has to say follows, once.
    Talker talker;
    talker.to_send = 5;
    talker.start(std::move(opening.stream));
    data = co_await peer->next(DATA);
    CHECK(data->payload.size() == 5);
}

Task<> after_the_answer(World& w, std::string settings) {
    Opening warming, opening;
    auto peer = co_await warm(w, warming, settings);
    CHECK(!w.pool->takes_first_bytes(w.key()));
    w.tasks.spawn(open(w, opening, 100));
    co_await peer->next(HEADERS);
    // Its answer to this comes after all that it had to say before.
    peer->send(PING, 0, 0, "12345678");
    auto frame = co_await peer->next();
    CHECK(frame->type == PING);
    peer->send(HEADERS, END_HEADERS, 3, answer_200);
    frame = co_await peer->next();
    CHECK(frame->type == DATA);
    CHECK(frame->payload.size() == 100);
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error == "");
}

// Told by nobody but the peer's WINDOW_UPDATE: their user may have nothing more to say until they are answered.
Task<> into_a_shut_window(World& w) {
    Opening warming, opening;
    const std::string no_window{"\0\4\0\0\0\0", 6};
    auto peer = co_await warm(w, warming, takes_first_bytes + no_window);
    w.tasks.spawn(open(w, opening, 100));
    co_await peer->next(HEADERS);
    peer->send(HEADERS, END_HEADERS, 3, answer_200);
    peer->send(PING, 0, 0, "12345678");
    auto frame = co_await peer->next();
    CHECK(frame->type == PING);
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error == "");
    peer->send(WINDOW_UPDATE, 0, 3, bytes_of(60));
    frame = co_await peer->next(DATA);
    CHECK(frame->payload.size() == 60);
    peer->send(WINDOW_UPDATE, 0, 3, bytes_of(1000));
    frame = co_await peer->next(DATA);
    CHECK(frame->payload.size() == 40);
}

Task<> of_ours(World& w) {
    std::vector<hbone::Incoming> waiting;
    w.answer = [&](hbone::Incoming incoming) { waiting.push_back(std::move(incoming)); };
    Opening warming, opening;
    w.tasks.spawn(open(w, warming, 0));
    co_await w.until([&] { return waiting.size() == 1; });
    CHECK(!waiting[0].has_first_bytes());
    Talker ignored;
    ignored.start(waiting[0].accept({}));
    co_await w.until([&] { return warming.over; });

    w.tasks.spawn(open(w, opening, 20'000));  // more than one frame
    co_await w.until([&] { return waiting.size() == 2; });
    CHECK(waiting[1].has_first_bytes());
    Talker talker;
    talker.to_send = 7;
    talker.then_end = false;
    talker.start(waiting[1].stream());
    co_await w.until([&] { return talker.received == 20'000; });
    CHECK(!talker.corrupt);
    // Not a byte before the 200.
    CHECK(!opening.over);
    CHECK(talker.sent == 0);
    waiting[1].say_ok({});
    co_await w.until([&] { return opening.over && talker.sent == 7; });
    CHECK(opening.error == "");
}

Task<> refused(World& w) {
    bool first = true;
    w.answer = [&](hbone::Incoming incoming) {
        if (std::exchange(first, false)) {
            w.echoes.push_back(std::make_unique<Echo>());
            w.echoes.back()->start(incoming.accept({}));
        } else {
            incoming.refuse(503);
        }
    };
    Opening warming, opening, again;
    co_await open(w, warming, 0);
    co_await open(w, opening, 5000);
    CHECK(opening.error == "http status: 503 Service Unavailable");
    // And the tunnel goes on.
    co_await open(w, again, 0);
    CHECK(again.error == "http status: 503 Service Unavailable");
    CHECK(w.dials == 1);
}

// The app may have read them: no second tunnel is asked.
Task<> not_said_twice(World& w) {
    Opening warming, opening;
    auto peer = co_await warm(w, warming, takes_first_bytes);
    w.tasks.spawn(open(w, opening, 100));
    co_await peer->next(DATA);
    const int dials = w.dials;
    peer.reset();
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error != "");
    CHECK(w.dials == dials);
}

}

TEST_SUITE("hbone") {
TEST_CASE("first bytes: travel with the CONNECT to a peer that says it takes them") {
    World w;
    w.play(with_the_request(w));
}

TEST_CASE("first bytes: wait for the 200 of a peer that says nothing of the kind") {
    World w;
    w.play(after_the_answer(w, {}));
}

TEST_CASE("first bytes: wait for the 200 of a peer that says no") {
    World w;
    w.play(after_the_answer(w, std::string{"\xf0\xc7\0\0\0\0", 6}));
}

TEST_CASE("first bytes: wait for room where the peer's window was shut, and follow when it opens") {
    World w;
    w.play(into_a_shut_window(w));
}

TEST_CASE("first bytes: reach the app before our server's 200, and nothing leaves before it") {
    World w;
    w.play(of_ours(w));
}

TEST_CASE("first bytes: are not said again when the tunnel that carried them breaks before an answer") {
    World w;
    w.play(not_said_twice(w));
}

TEST_CASE("first bytes: of a refused request go nowhere, and cost the tunnel nothing") {
    World w;
    w.play(refused(w));
}
}
