// SPDX-License-Identifier: Apache-2.0
// DATA and WINDOW_UPDATE, which nghttp2 does not see: in pieces, padded, out of order, and more than is allowed.
#include "raw_peer.hpp"

using namespace fixtures;

namespace {

std::string setting(std::uint16_t id, std::uint32_t value) {
    return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + bytes_of(value);
}

std::string patterned(std::size_t from, std::size_t count) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(pattern(from + i));
    return bytes;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
    return bytes_of(static_cast<std::uint32_t>(payload.size()) << 8 | type) + static_cast<char>(flags) +
           bytes_of(stream) + payload;
}

// Each byte in a record of its own.
Task<> byte_by_byte(World& w) {
    Talker talker;
    talker.to_send = 100'000;
    w.answer = [&](hbone::Incoming incoming) { talker.start(incoming.accept({})); };
    auto peer = co_await RawPeer::connected(w);
    std::string all = frame(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80")) + frame(DATA, 0, 1, patterned(0, 10)) +
                      frame(WINDOW_UPDATE, 0, 0, bytes_of(1u << 20)) +
                      frame(DATA, PADDED, 1, "\x03" + patterned(10, 5) + "pad") + frame(PING, 0, 0, "12345678") +
                      frame(DATA, 0, 1, "") + frame(WINDOW_UPDATE, 0, 1, bytes_of(1u << 20)) +
                      frame(DATA, PADDED, 1, std::string{"\x00", 1}) +
                      frame(DATA, PADDED | END_STREAM, 1, "\x02" + patterned(15, 5) + "xx");
    for (char c : all) peer->send_raw(std::string{c});
    auto pong = co_await peer->next(PING);
    CHECK(pong->payload == "12345678");
    co_await w.until([&] { return talker.got_end; });
    CHECK(talker.received == 20);
    CHECK(!talker.corrupt);
    std::size_t total = 0;
    while (total < 100'000) {
        auto data = co_await peer->next(DATA);
        if (!data) break;
        total += data->payload.size();
    }
    CHECK(total == 100'000);
    CHECK(talker.reset == "");
}

// Padding counts, and is given back at once.
Task<> much_padding(World& w) {
    Talker talker;
    talker.then_end = false;
    w.answer = [&](hbone::Incoming incoming) { talker.start(incoming.accept({})); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    co_await peer->next(HEADERS);
    std::string padded = "\xff" + patterned(0, 1) + std::string(255, 'p');
    std::uint32_t given = 0;
    for (int i = 0; i < 300; ++i) peer->send(DATA, PADDED, 1, padded);  // 77,100 bytes of a window of 70,000
    peer->send(PING, 0, 0, "12345678");
    for (auto next = co_await peer->next(); next && next->type != PING; next = co_await peer->next())
        if (next->type == WINDOW_UPDATE && next->stream == 1) given += number_of(next->payload);
    CHECK(talker.received == 300);
    CHECK(given >= 35'000);
    CHECK(talker.reset == "");
}

struct Wrong {
    const char* name;
    std::string frames;
    std::uint32_t code;
    std::string reset = {};  // of the stream alone, if it is not the connection that ends
};

Task<> wrong(World& w, const Wrong& row) {
    Talker talker;
    talker.reads = false;
    talker.then_end = false;
    w.answer = [&](hbone::Incoming incoming) { talker.start(incoming.accept({})); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    co_await peer->next(HEADERS);
    peer->send_raw(row.frames);
    auto said = co_await peer->next(row.reset.empty() ? GOAWAY : RST_STREAM);
    CHECK(said.has_value());
    if (!said) co_return;
    CHECK(number_of(said->payload, row.reset.empty() ? 4 : 0) == row.code);
    if (row.reset.empty()) {
        auto nothing = co_await peer->next();
        CHECK(!nothing);
        CHECK(peer->said_goodbye);
    } else {
        co_await w.until([&] { return !talker.reset.empty(); });
        CHECK(talker.reset == row.reset);
        peer->send(PING, 0, 0, "12345678");
        auto pong = co_await peer->next(PING);
        CHECK(pong.has_value());
    }
}

Task<> take(RawPeer& peer, std::size_t& total, std::size_t until) {
    while (total < until) {
        auto data = co_await peer.next(DATA);
        if (!data) co_return;
        total += data->payload.size();
    }
}

// A peer whose SETTINGS leave streams no window, and that opens it later, and closes it again.
Task<> no_window(World& w) {
    Talker talker;
    talker.to_send = 50'000;
    w.answer = [&](hbone::Incoming incoming) { talker.start(incoming.accept({})); };
    auto peer = co_await RawPeer::connected(w);
    peer->send(SETTINGS, 0, 0, setting(4, 0));
    peer->send(HEADERS, END_HEADERS, 1, connect_to("10.0.0.7:80"));
    co_await peer->next(HEADERS);
    std::size_t total = 0;
    co_await base::sleep_for(w.loop, 20ms);
    CHECK(talker.sent == 0);
    peer->send(WINDOW_UPDATE, 0, 1, bytes_of(1000));
    auto first = take(*peer, total, 1000);
    co_await std::move(first);
    CHECK(total == 1000);
    peer->send(SETTINGS, 0, 0, setting(4, 20'000));
    auto second = take(*peer, total, 21'000);
    co_await std::move(second);
    CHECK(total == 21'000);
    peer->send(SETTINGS, 0, 0, setting(4, 10'000));  // 10,000 below what it has
    peer->send(WINDOW_UPDATE, 0, 1, bytes_of(10'000));
    peer->send(PING, 0, 0, "12345678");
    co_await peer->next(PING);
    co_await base::sleep_for(w.loop, 20ms);
    CHECK(talker.sent == 21'000);
    peer->send(WINDOW_UPDATE, 0, 1, bytes_of(29'000));
    auto rest = take(*peer, total, 50'000);
    co_await std::move(rest);
    CHECK(total == 50'000);
    peer->send(WINDOW_UPDATE, 0, 1, bytes_of(1));
    auto end = co_await peer->next(DATA);
    CHECK(end->payload.empty());
    CHECK(end->flags == END_STREAM);
    CHECK(talker.reset == "");
}

}

TEST_SUITE("hbone") {

TEST_CASE("data: frames may come byte by byte, padded and empty, among others") {
    World w;
    w.play(byte_by_byte(w));
}

TEST_CASE("data: padding is of no weight for long") {
    hbone::Settings narrow{.stream_window = 70'000, .connection_window = 100'000};
    World w{narrow, narrow};
    w.play(much_padding(w));
}

TEST_CASE("data: a peer that breaks the rules is told which, and cut off") {
    constexpr std::uint32_t protocol_error = 1, flow_control_error = 3, stream_closed = 5, frame_size_error = 6;
    std::string sixteen_k(16'384, 'x'), too_much, far_too_much;
    for (int i = 0; i < 5; ++i) too_much += frame(DATA, 0, 1, sixteen_k);
    for (int i = 0; i < 7; ++i) far_too_much += frame(DATA, 0, 1, sixteen_k);
    std::string ended = frame(DATA, END_STREAM, 1, "end");
    for (const Wrong& row : {
             Wrong{"bytes of no stream", frame(DATA, 0, 0, "x"), protocol_error},
             Wrong{"bytes of a stream that was never opened", frame(DATA, 0, 7, "x"), protocol_error},
             Wrong{"bytes after the end", ended + frame(DATA, 0, 1, "more"), stream_closed},
             Wrong{"more padding than frame",
                   frame(DATA, PADDED, 1,
                         "\x09"
                         "abc"),
                   protocol_error},
             Wrong{"padding of no length", frame(DATA, PADDED, 1, ""), protocol_error},
             Wrong{"bytes in the middle of headers", frame(HEADERS, 0, 3, "") + frame(DATA, 0, 1, "x"), protocol_error},
             Wrong{"more than the connection's window", far_too_much, flow_control_error},
             Wrong{"more than the stream's window", too_much, flow_control_error,
                   "h2 failed: stream error: FLOW_CONTROL_ERROR"},
             Wrong{"a window update of nothing", frame(WINDOW_UPDATE, 0, 0, bytes_of(0)), protocol_error},
             Wrong{"a window update of three bytes", frame(WINDOW_UPDATE, 0, 0, "abc"), frame_size_error},
             Wrong{"a connection's window beyond all windows", frame(WINDOW_UPDATE, 0, 0, bytes_of(0x7fffffff)),
                   flow_control_error},
             Wrong{"a stream's window beyond all windows", frame(WINDOW_UPDATE, 0, 1, bytes_of(0x7fffffff)),
                   flow_control_error, "h2 failed: stream error: FLOW_CONTROL_ERROR"},
             Wrong{"a window update of a stream that was never opened", frame(WINDOW_UPDATE, 0, 9, bytes_of(1)),
                   protocol_error},
         }) {
        CAPTURE(row.name);
        World w{{}, {.stream_window = 70'000, .connection_window = 100'000}};
        w.play(wrong(w, row));
    }
}

TEST_CASE("data: a peer may leave no window, open it, and make it smaller than what is on its way") {
    World w;
    w.play(no_window(w));
}

}
