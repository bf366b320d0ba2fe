// SPDX-License-Identifier: Apache-2.0
// Which tunnel a stream takes, and why there is none.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "raw_peer.hpp"

using namespace fixtures;

namespace {

Task<> open(World& w, Opening& opening, std::string pod = "pod-1", tls::CredentialsPtr own = nullptr,
            std::vector<std::byte> first = {}) {
    if (!own) own = w.client_credentials;
    return opening.wait(
        w.pool->open(w.key(pod), std::move(own), hbone::Request{.authority = "10.0.0.7:80"}, std::move(first)));
}

std::string error_of(const base::Result<hbone::Stream>& result) {
    return result ? "" : result.error().to_string();
}

Task<> hundred(World& w) {
    std::vector<Opening> openings(101);
    for (int i = 0; i < 100; ++i) w.tasks.spawn(open(w, openings[i]));
    bool all = co_await w.until(
        [&] { return std::all_of(openings.begin(), openings.end() - 1, [](auto& o) { return o.over; }); });
    CHECK(all);
    CHECK(w.dials == 1);  // they shared it while it was being made
    w.tasks.spawn(open(w, openings[100]));
    co_await w.until([&] { return openings[100].over; });
    CHECK(w.dials == 2);
    for (Opening& o : openings) CHECK(o.error == "");
    CHECK(w.pool->stats().streams == 101);
    CHECK(w.pool->stats().live == 2);
    // A place that becomes free on the first is used again.
    openings[5].stream = {};
    Opening again;
    w.tasks.spawn(open(w, again));
    co_await w.until([&] { return again.over; });
    CHECK(w.dials == 2);
}

Task<> what_the_peer_allows(World& w) {
    std::vector<Opening> openings(5);
    for (int i = 0; i < 3; ++i) w.tasks.spawn(open(w, openings[i]));
    co_await w.until([&] { return openings[2].over; });
    for (int i = 3; i < 5; ++i) w.tasks.spawn(open(w, openings[i]));
    co_await w.until([&] { return openings[3].over && openings[4].over; });
    CHECK(w.dials == 2);
    for (Opening& o : openings) CHECK(o.error == "");
}

Task<> burst(World& w, std::size_t size) {
    std::vector<Opening> openings(size);
    for (Opening& o : openings) w.tasks.spawn(open(w, o));
    co_await w.until([&] { return std::ranges::all_of(openings, [](auto& o) { return o.over; }); });
    for (Opening& o : openings) CHECK(o.error == "");
    CHECK(w.pool->stats().streams == size);
    CHECK(w.dials == static_cast<int>(size));
}

Task<> keys(World& w) {
    Opening one, other;
    co_await open(w, one, "pod-1");
    co_await open(w, other, "pod-2");
    CHECK(w.dials == 2);
    w.pool->retire("pod-2", false);
    Talker talker;  // its stream goes on
    talker.to_send = 10;
    talker.start(std::move(other.stream));
    co_await w.until([&] { return talker.done(); });
    CHECK(talker.received == 10);
    co_await w.until([&] { return w.pool->stats().live == 1; });
    CHECK(w.pool->stats().live == 1);
}

Task<> renewed(World& w) {
    Opening old_one, new_one;
    co_await open(w, old_one);
    co_await open(w, new_one, "pod-1", credentials("client"));
    CHECK(w.dials == 2);
    CHECK(w.pool->stats().live == 2);
    Talker talker;
    talker.to_send = 1000;
    talker.start(std::move(old_one.stream));
    co_await w.until([&] { return talker.done(); });
    CHECK(talker.received == 1000);
    CHECK(talker.reset == "");
    co_await w.until([&] { return w.pool->stats().live == 1; });
    CHECK(w.pool->stats().live == 1);
    CHECK(new_one.error == "");
}

Task<> idle(World& w) {
    Opening opening;
    co_await open(w, opening);
    Talker talker;
    talker.start(std::move(opening.stream));
    co_await w.until([&] { return talker.done(); });
    co_await base::sleep_for(w.loop, 20ms);
    CHECK(w.pool->stats().live == 1);
    bool ended = co_await w.until([&] { return w.pool->empty() && w.server->tunnels() == 0; }, 1s);
    CHECK(ended);
    CHECK(w.server_ends == std::vector<std::string>{""});
}

Task<> refused(World& w, int status, const char* expected) {
    w.answer = [status](hbone::Incoming incoming) { incoming.refuse(status); };
    auto stream = co_await w.open();
    CHECK(error_of(stream) == expected);
    w.answer = nullptr;
    auto next = co_await w.open();
    CHECK(error_of(next) == "");
    CHECK(w.dials == 1);
}

Task<> nobody_listens(World& w) {
    auto key = w.key();
    {
        base::Fd fd{::socket(AF_INET, SOCK_STREAM, 0)};
        sockaddr_in any{};
        any.sin_family = AF_INET;
        any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any);
        key.peer = base::local_address(fd.get());
    }
    auto asked = w.pool->open(key, w.client_credentials, hbone::Request{.authority = "a:1"});
    auto stream = co_await std::move(asked);
    CHECK(error_of(stream) == "io error: Connection refused (os error 111)");
    CHECK(w.pool->stats().failed == 1);
    CHECK(w.pool->empty());
}

struct NeverDials final : hbone::Dialer {
    base::Loop& loop;
    explicit NeverDials(base::Loop& l) : loop{l} {}
    Task<base::Result<std::unique_ptr<base::Socket>>> dial(const hbone::PoolKey&) override {
        co_await base::sleep_for(loop, 1h);
        co_return base::problem("an hour later");
    }
};

Task<> nobody_answers(World& w) {
    NeverDials dialer{w.loop};
    hbone::Pool pool{w.loop, dialer, {.connect = 10ms}};
    auto key = w.key();
    key.peer.port = 15008;
    auto asked = pool.open(key, w.client_credentials, {});
    auto stream = co_await std::move(asked);
    CHECK(error_of(stream) ==
          "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed");
    key.peer.port = 15009;
    asked = pool.open(key, w.client_credentials, {});
    stream = co_await std::move(asked);
    CHECK(error_of(stream) == "io error: deadline has elapsed");
    CHECK(pool.empty());
}

Task<> wrong_name(World& w) {
    w.accepted = {spiffe("somebody-else")};
    auto stream = co_await w.open();
    CHECK(error_of(stream).starts_with("identity verification error: peer did not present the expected SAN ("));
    CHECK(w.pool->stats().failed == 1);
    co_await w.until([&] { return !w.server_ends.empty(); });
    CHECK(w.server_ends.size() == 1);
    if (!w.server_ends.empty()) CHECK(w.server_ends[0].starts_with("tls handshake error: "));
}

Task<> silent(World& w, bool tls, const char* expected) {
    Opening opening;
    w.tasks.spawn(open(w, opening));
    base::Fd fd;
    std::unique_ptr<RawPeer> peer;
    if (tls) {
        peer = co_await RawPeer::accepted(w);
    } else {
        w.takes_connection = [&fd](base::Fd taken) { fd = std::move(taken); };
    }
    co_await w.until([&] { return opening.over; });
    CHECK(opening.error == expected);
    CHECK(w.pool->empty());
}

Task<> no_answer(World& w) {
    std::vector<hbone::Incoming> kept;
    w.answer = [&](hbone::Incoming incoming) { kept.push_back(std::move(incoming)); };
    auto stream = co_await w.open();
    CHECK(error_of(stream) == "h2 failed: deadline has elapsed before the peer's answer");
    co_await w.until([&] { return kept[0].gone(); });
    CHECK(kept[0].gone());
    CHECK(w.pool->stats().live == 1);
    kept.clear();
}

// A tunnel that has carried a call already, to a peer that says what we make it say.
Task<std::unique_ptr<RawPeer>> warm(World& w, Opening& opening) {
    w.tasks.spawn(open(w, opening));
    auto peer = co_await RawPeer::accepted(w);
    co_await peer->take(preface.size());
    peer->send(SETTINGS, 0, 0, std::string{"\xf0\xc7\0\0\0\1", 6});  // takes first bytes
    co_await peer->next(HEADERS);
    peer->send(HEADERS, END_HEADERS, 1, answer_200);
    co_await w.until([&] { return opening.over; });
    co_return peer;
}

Task<> falls_silent(World& w) {
    Opening first, waits, late, back;
    auto peer = co_await warm(w, first);
    w.tasks.spawn(open(w, waits));
    auto ping = co_await peer->next(PING);  // a sign of life is asked for
    co_await base::sleep_for(w.loop, 150ms);
    w.tasks.spawn(open(w, late));
    co_await w.until([&] { return late.over; }, 2s);
    CHECK(late.error == "");
    CHECK(w.dials == 2);
    CHECK(!waits.over);
    // The peer lives, and is only slow with this answer.
    CHECK(w.infos.size() == 1);
    late.stream = {};
    peer->send(PING, ACK, 0, ping->payload);
    co_await base::sleep_for(w.loop, 10ms);
    w.tasks.spawn(open(w, back));
    co_await peer->next(HEADERS);
    peer->send(HEADERS, END_HEADERS, 5, answer_200);
    co_await w.until([&] { return back.over; }, 2s);
    CHECK(back.error == "");
    CHECK(w.dials == 2);
    peer->send(HEADERS, END_HEADERS, 3, answer_200);
    co_await w.until([&] { return waits.over; }, 2s);
    CHECK(waits.error == "");
}

Task<> slow_answer(World& w) {
    Opening first, waits, other;
    auto peer = co_await warm(w, first);
    w.tasks.spawn(open(w, waits));
    auto ping = co_await peer->next(PING);
    peer->send(PING, ACK, 0, ping->payload);
    co_await base::sleep_for(w.loop, 5ms);
    w.tasks.spawn(open(w, other));
    co_await peer->next(HEADERS);
    CHECK(w.dials == 1);
}

Task<> address_lost(World& w, std::size_t first_bytes) {
    Opening before, waits;
    auto peer = co_await warm(w, before);
    w.address_lost = true;
    w.tasks.spawn(open(w, waits, "pod-1", nullptr, std::vector<std::byte>(first_bytes)));
    co_await w.until([&] { return waits.over; }, 2s);
    CHECK(waits.over);
    const std::string expected = "h2 failed: the pod no longer has the address that the tunnel came from";
    CHECK(waits.error == (first_bytes ? expected : ""));
    CHECK(w.dials == (first_bytes ? 1 : 2));
    CHECK(w.pool->stats().live == (first_bytes ? 0 : 1));
}

// Each from a pod of its own, and so on a tunnel of its own.
Task<> tunnels_of_one_source(World& w, std::size_t share) {
    std::vector<Opening> openings(share + 1);
    for (std::size_t i = 0; i < share; ++i) {
        co_await open(w, openings[i], "pod-" + std::to_string(i));
        CHECK(openings[i].error == "");
    }
    CHECK(w.server->tunnels() == share);
    co_await open(w, openings[share], "one-too-many");
    CHECK(openings[share].error != "");
    co_await w.until([&] { return !w.server_ends.empty(); });
    CHECK(w.server_ends == std::vector<std::string>{"over a limit: tunnels from this source to this pod"});
}

Task<> silent_client(World& w) {
    base::Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    auto socket = co_await base::connect(w.loop, std::move(fd), w.address);
    co_await w.until([&] { return !w.server_ends.empty(); });
    CHECK(w.server_ends == std::vector<std::string>{"tls handshake error: deadline has elapsed"});
    base::Fd other{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    socket = co_await base::connect(w.loop, std::move(other), w.address);
    CHECK(::send((*socket)->fd(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    co_await w.until([&] { return w.server_ends.size() == 2; });
    CHECK(w.server_ends[1].starts_with("tls handshake error: "));
    CHECK(w.server_ends[1] != w.server_ends[0]);
}

Task<> cancelled(World& w) {
    std::vector<hbone::Incoming> kept;
    w.answer = [&](hbone::Incoming incoming) { kept.push_back(std::move(incoming)); };
    Opening opening;
    {
        base::TaskGroup group{w.loop};
        group.spawn(open(w, opening));
        group.cancel_all();  // while it dials; the dial goes on for whoever comes next
    }
    {
        base::TaskGroup group{w.loop};
        group.spawn(open(w, opening));
        co_await w.until([&] { return kept.size() == 1; });
        group.cancel_all();  // while it waits for the answer
    }
    co_await w.until([&] { return kept[0].gone(); });
    CHECK(kept[0].gone());
    CHECK(w.dials == 1);
    CHECK(!opening.over);
    kept.clear();
}

}

TEST_SUITE("hbone") {

TEST_CASE("pool: a hundred streams share a tunnel, and the next one opens another") {
    World w{{.pool_streams = 100}};
    w.play(hundred(w));
}

TEST_CASE("pool: a tunnel carries no more streams than the peer allows") {
    World w{{}, {.server_streams = 3}};
    w.play(what_the_peer_allows(w));
}

TEST_CASE("pool: a burst that a new tunnel did not allow finds others, whatever the peer allows") {
    World w{{}, {.server_streams = 1}};
    w.play(burst(w, 7));
}

TEST_CASE("pool: pods do not share tunnels, and a retired pod's streams may end") {
    World w;
    w.play(keys(w));
}

TEST_CASE("pool: with renewed credentials comes a new tunnel, and the old one ends with its last stream") {
    World w;
    w.play(renewed(w));
}

TEST_CASE("pool: a tunnel that nobody uses ends in good order") {
    World w{{.pool_idle = 100ms}};
    w.play(idle(w));
}

TEST_CASE("pool: a refusal is an error with the status in words, and the tunnel stays") {
    struct Row {
        int status;
        const char* expected;
    };
    for (const Row& row : {Row{400, "http status: 400 Bad Request"}, Row{401, "http status: 401 Unauthorized"},
                           Row{503, "http status: 503 Service Unavailable"}, Row{599, "http status: 599"}}) {
        CAPTURE(row.status);
        World w;
        w.play(refused(w, row.status, row.expected));
    }
}

TEST_CASE("pool: a port where nobody listens is refused at once") {
    World w;
    w.play(nobody_listens(w));
}

TEST_CASE("pool: a dial without an answer says what may be in the way") {
    World w;
    w.play(nobody_answers(w));
}

TEST_CASE("pool: a peer with another name is not spoken to") {
    World w;
    w.play(wrong_name(w));
}

TEST_CASE("pool: a peer that says nothing is given up") {
    struct Row {
        bool tls;
        const char* expected;
    };
    for (const Row& row : {Row{false, "tls handshake error: deadline has elapsed"},
                           Row{true, "h2 failed: deadline has elapsed before the peer's SETTINGS"}}) {
        CAPTURE(row.tls);
        World w{{.handshake = 50ms}};
        w.play(silent(w, row.tls, row.expected));
    }
}

TEST_CASE("pool: a CONNECT that nobody answers is cancelled") {
    World w{{.answer = 30ms}};
    w.play(no_answer(w));
}

TEST_CASE("pool: an opener may be cancelled at any time") {
    World w;
    w.play(cancelled(w));
}

TEST_CASE("pool: while a peer gives no sign of life, new streams take another tunnel, and come back when it does") {
    World w{{.doubt = 100ms}};
    w.play(falls_silent(w));
}

TEST_CASE("pool: an answer that is slow to come costs nobody else the tunnel") {
    World w{{.doubt = 200ms}};
    w.play(slow_answer(w));
}

TEST_CASE("pool: a call over a tunnel whose address the pod has lost is made anew, unless its words may have arrived") {
    for (std::size_t first_bytes : {0u, 100u}) {
        CAPTURE(first_bytes);
        World w{{.doubt = 20ms}};
        w.play(address_lost(w, first_bytes));
    }
}

TEST_CASE("server: of tunnels an IPv6 /64 may have four times what one IPv4 address may have") {
    {
        World w{{}, {.server_tunnels_of_one = 2}};
        w.play(tunnels_of_one_source(w, 2));
    }
    World w{{}, {.server_tunnels_of_one = 2}, "::1"};
    w.play(tunnels_of_one_source(w, 8));
}

TEST_CASE("server: a client that says nothing, or not TLS, is given up") {
    World w{{}, {.handshake = 50ms}};
    w.play(silent_client(w));
}

}
