// SPDX-License-Identifier: Apache-2.0
// Tunnels move to new certificates before those that they were made with end.
#include "raw_peer.hpp"

using namespace fixtures;

namespace {

// A stream that is open and stays so, and may be asked whether it still works.
struct Held {
    Talker talker;
    std::string error;
};

Task<> hold(World& w, Held& held) {
    auto asked = w.pool->open(w.key(), w.client_credentials, hbone::Request{.authority = "10.0.0.7:80"});
    auto stream = co_await std::move(asked);
    if (!stream) {
        held.error = stream.error().to_string();
        co_return;
    }
    held.talker.then_end = false;
    held.talker.to_send = 100;
    held.talker.start(std::move(*stream));
    co_await w.until([&] { return held.talker.received == 100; });
}

Task<> still_works(World& w, Held& held) {
    held.talker.finish();
    co_await w.until([&] { return held.talker.done(); });
    CHECK(held.talker.done());
    CHECK(held.talker.reset == "");
}

tls::CredentialsMap known(const tls::CredentialsPtr& credentials) {
    return {{credentials->identity, tls::Standing{.current = credentials}}};
}

Task<> pool_renews(World& w) {
    Held busy;
    co_await hold(w, busy);
    w.pool->renew(known(w.client_credentials));  // nothing new
    Held second;
    co_await hold(w, second);
    CHECK(w.dials == 1);
    w.client_credentials = credentials("client");
    w.pool->renew(known(w.client_credentials));
    Held third;
    co_await hold(w, third);
    CHECK(w.dials == 2);
    co_await still_works(w, busy);
    CHECK(w.pool->stats().live == 2);
    co_await still_works(w, second);
    co_await w.until([&] { return w.pool->stats().live == 1; });
    CHECK(w.pool->stats().live == 1);
    co_await still_works(w, third);
}

Task<> pool_lets_idle_go(World& w) {
    Held held;
    co_await hold(w, held);
    co_await still_works(w, held);
    CHECK(w.pool->stats().live == 1);
    w.pool->renew({});  // the identity has gone: its pod's end is another's business
    w.pool->renew(known(credentials("other")));
    // One that could not be renewed is no reason to leave what works.
    w.pool->renew({{w.client_credentials->identity, tls::Standing{}}});
    CHECK(w.pool->stats().live == 1);
    w.pool->renew(known(credentials("client")));
    co_await w.until([&] { return w.pool->stats().live == 0; });
    CHECK(w.pool->stats().live == 0);
    CHECK(w.dials == 1);
}

// Until a new stream finds that it has to take another tunnel; how long that was.
Task<std::chrono::milliseconds> until_moved(World& w, std::chrono::milliseconds limit) {
    const auto begin = Loop::Clock::now();
    const int dials = w.dials;
    while (w.dials == dials && Loop::Clock::now() - begin < limit) {
        Held probe;
        co_await hold(w, probe);
        CHECK(probe.error == "");
        co_await base::sleep_for(w.loop, 50ms);
    }
    CHECK(w.dials == dials + 1);
    co_return std::chrono::duration_cast<std::chrono::milliseconds>(Loop::Clock::now() - begin);
}

Task<> server_renews(World& w) {
    w.server_credentials = credentials("server", 4s);
    Held held;
    co_await hold(w, held);
    w.server_credentials = credentials("server");
    w.server->renew(w.server_credentials);
    const auto moved = co_await until_moved(w, 5s);
    CHECK(moved > 300ms);  // a fifth of what it had left, which may be 3 s
    CHECK(moved < 3500ms);
    co_await still_works(w, held);
    // The new tunnel stays.
    const int dials = w.dials;
    w.server->renew(w.server_credentials);
    co_await base::sleep_for(w.loop, 300ms);
    Held after;
    co_await hold(w, after);
    CHECK(w.dials == dials);
}

Task<> server_ends(World& w) {
    w.server_credentials = credentials("server", 2s);
    Held held;
    co_await hold(w, held);
    const auto until = w.server_credentials->not_after;
    w.server_credentials = credentials("server");
    const auto moved = co_await until_moved(w, 4s);
    CHECK(std::chrono::system_clock::now() >= until);
    CHECK(moved < 3s);
    co_await still_works(w, held);
}

Task<> peer_ends(World& w) {
    w.client_credentials = credentials("client", 2s);
    Held held;
    co_await hold(w, held);
    // The pool would move by itself if it knew of new ones: it has none here, and asks with those of the first tunnel.
    const auto until = w.client_credentials->not_after;
    bool refused = false;
    while (!refused && std::chrono::system_clock::now() < until + 2s) {
        Held probe;
        co_await hold(w, probe);
        refused = !probe.error.empty() || w.dials > 1;
        co_await base::sleep_for(w.loop, 50ms);
    }
    CHECK(refused);
    CHECK(std::chrono::system_clock::now() >= until);
    co_await still_works(w, held);
}

}

TEST_SUITE("hbone") {
TEST_CASE("renewal: a pool's tunnel with an earlier certificate carries its streams to their ends, and no new ones") {
    World w;
    w.play(pool_renews(w));
}

TEST_CASE("renewal: a pool's tunnel without streams ends when there is a new certificate for it") {
    World w;
    w.play(pool_lets_idle_go(w));
}

TEST_CASE("renewal: peers are asked to move before the certificate that they know ends, and their streams go on") {
    World w;
    w.play(server_renews(w));
}

TEST_CASE("renewal: a server whose certificate has ended gets nothing new on its old tunnel") {
    World w;
    w.play(server_ends(w));
}

TEST_CASE("renewal: a peer whose certificate has ended brings nothing new on its old tunnel") {
    World w;
    w.play(peer_ends(w));
}
}
