// SPDX-License-Identifier: Apache-2.0
#include <own_certificates.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <vector>

#include "play.hpp"

using namespace culvert;
using namespace std::chrono_literals;
using state::Identity;

namespace {

const Identity alice{"cluster.local", "shop", "alice"};
const Identity bob{"cluster.local", "shop", "bob"};

tls::CredentialsPtr good_for(std::chrono::seconds time) {
    auto made = std::make_shared<tls::Credentials>();
    made->not_after = std::chrono::system_clock::now() + time;
    return made;
}

tls::Standing failing(std::string why, std::chrono::milliseconds next_try) {
    return {.failure = std::move(why), .next_try = std::chrono::steady_clock::now() + next_try};
}

// A worker's loop, and the connections on it that wait.
struct Worker {
    struct Waiter {
        tls::CredentialsPtr got;
        std::string error;
        bool over = false;
    };

    explicit Worker(std::chrono::milliseconds patience = 5s) { limits.connect = patience; }

    void know(tls::CredentialsMap map) { certificates.publish(std::make_shared<const tls::CredentialsMap>(map)); }
    Waiter& wait(const Identity& identity) {
        waiters.emplace_back();
        connections.spawn(wait_on(*this, identity, waiters.back()));
        return waiters.back();
    }
    static base::Task<> wait_on(Worker& worker, Identity identity, Waiter& waiter) {
        auto waiting = worker.certificates.wait(std::move(identity));
        auto answer = co_await std::move(waiting);
        if (answer)
            waiter.got = *answer;
        else
            waiter.error = answer.error().to_string();
        waiter.over = true;
    }
    void play(base::Task<> story) { ::play(loop, connections, std::move(story)); }

    base::Loop loop;
    proxy::Limits limits;
    telemetry::WorkerCounters counters;
    std::vector<Identity> asked;
    proxy::OwnCertificates::Need need = [this](const Identity& identity) { asked.push_back(identity); };
    proxy::OwnCertificates certificates{loop, need, limits, counters};
    std::deque<Waiter> waiters;
    base::TaskGroup connections{loop};
};

base::Task<> need(Worker& worker) {
    worker.know({{alice, {}}, {bob, {.current = good_for(-1s)}}});
    auto& one = worker.wait(alice);
    auto& two = worker.wait(alice);
    auto& three = worker.wait(bob);
    CHECK(worker.asked == std::vector{alice, bob});
    CHECK(worker.counters.certificate_waiting.get() == 3);
    worker.know({{alice, failing("not now", 1s)}, {bob, {}}});
    co_await base::sleep_for(worker.loop, 10ms);
    CHECK(!one.over);
    auto come = good_for(10s);
    worker.know({{alice, {.current = come}}, {bob, {}}});
    co_await base::sleep_for(worker.loop, 10ms);
    CHECK(one.got == come);
    CHECK(two.got == come);
    CHECK(!three.over);
    worker.know({{alice, {.current = come}}, {bob, {.current = come}}});
    co_await base::sleep_for(worker.loop, 10ms);
    CHECK(three.got == come);
    CHECK(worker.counters.certificate_waiting.get() == 0);
    CHECK(worker.counters.certificate_waits.get() == 3);
}

base::Task<> vain(Worker& worker) {
    worker.know({{alice, {}}});
    auto& one = worker.wait(alice);
    co_await base::sleep_for(worker.loop, 50ms);
    CHECK(!one.over);
    co_await base::sleep_for(worker.loop, 100ms);
    CHECK(one.error ==
          "identity error: no certificate for spiffe://cluster.local/ns/shop/sa/alice yet: the CA has not answered");
    worker.know({{alice, failing("the CA is away", 60ms)}});
    auto& two = worker.wait(alice);
    co_await base::sleep_for(worker.loop, 150ms);
    CHECK(two.error ==
          "identity error: no certificate for spiffe://cluster.local/ns/shop/sa/alice yet: the CA is away");
}

base::Task<> gone(Worker& worker) {
    worker.know({{alice, {}}, {bob, {}}});
    auto& one = worker.wait(alice);
    auto& two = worker.wait(bob);
    worker.know({{bob, failing("the CA is away", 1min)}});
    co_await base::sleep_for(worker.loop, 10ms);
    CHECK(one.error == "identity error: no pod here is spiffe://cluster.local/ns/shop/sa/alice");
    CHECK(two.error.find("the CA is away; the next try is in 59 s") != std::string::npos);
}

}

TEST_SUITE("proxy") {
TEST_CASE("own certificates: what is good is there at once, what has expired is not") {
    Worker worker;
    CHECK(!worker.certificates.find(alice));
    auto good = good_for(10s);
    worker.know({{alice, {.current = good}}, {bob, {.current = good_for(-1s)}}});
    CHECK(worker.certificates.find(alice) == good);
    CHECK(!worker.certificates.find(bob));
}

TEST_CASE("own certificates: who needs one waits until it comes, and it is asked for once") {
    Worker worker;
    worker.play(need(worker));
}

TEST_CASE("own certificates: who waits in vain hears why") {
    Worker worker{100ms};
    worker.play(vain(worker));
}

TEST_CASE("own certificates: where none can come in time, nobody waits") {
    Worker worker;
    worker.know(
        {{alice, failing("the CA is away", 70'500ms)},
         {bob, {.current = good_for(-1s), .failure = "refused", .next_try = std::chrono::steady_clock::now() + 1h}}});
    CHECK(worker.wait(alice).error ==
          "identity error: no certificate for spiffe://cluster.local/ns/shop/sa/alice yet: the CA is away; "
          "the next try is in 70 s");
    const auto expired = worker.wait(bob).error;
    CHECK_MESSAGE(
        expired.starts_with("identity error: the certificate of spiffe://cluster.local/ns/shop/sa/bob expired at 20"),
        expired);
    CHECK_MESSAGE(expired.ends_with(" UTC: refused; the next try is in 3599 s"), expired);
    CHECK(worker.wait({"cluster.local", "shop", "carol"}).error ==
          "identity error: no pod here is spiffe://cluster.local/ns/shop/sa/carol");
    CHECK(worker.asked.empty());
    CHECK(worker.counters.certificate_waits.get() == 0);
}

TEST_CASE("own certificates: who waits hears at once that the identity has gone, or that it takes too long") {
    Worker worker;
    worker.play(gone(worker));
}

TEST_CASE("own certificates: only so many wait") {
    Worker worker;
    worker.limits.waiting_for_certificate_per_worker = 2;
    worker.know({{alice, {}}});
    worker.wait(alice);
    worker.wait(alice);
    CHECK(worker.wait(alice).error == "over a limit: connections that wait for a certificate");
    worker.connections.cancel_all();
    CHECK(worker.counters.certificate_waiting.get() == 0);
    CHECK(!worker.wait(alice).over);
    CHECK(worker.asked.size() == 2);
}
}
