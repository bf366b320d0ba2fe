// SPDX-License-Identifier: Apache-2.0
// A change while hundreds of connections live: those that it forbids end at once, and no other does.
#include <doctest/doctest.h>

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "outcome.hpp"
#include "policies.hpp"
#include "server.hpp"

using namespace culvert::test;

namespace {

using Clock = std::chrono::steady_clock;
constexpr int each_kind = 125;
// From the moment in which the file is there, and 50 ms of that the daemon waits for its writer to be done.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto bar = 1000ms;
#else
constexpr auto bar = 100ms;
#endif

struct Call {
    Pod* from;
    std::uint16_t port;
    Connection app;
};

void raise_descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

// When each of them ended, as its app sees it: watched from now until stop().
class Ends {
public:
    explicit Ends(std::vector<Call>& calls) {
        for (Call& call : calls) watched_.push_back({call.app.fd(), POLLIN | POLLRDHUP, 0});
        ends_.resize(watched_.size());
        watcher_ = std::jthread{[this](const std::stop_token& stop) { watch(stop); }};
    }
    std::vector<std::optional<Clock::time_point>> stop() {
        watcher_.request_stop();
        watcher_.join();
        return ends_;
    }

private:
    void watch(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            if (::poll(watched_.data(), watched_.size(), 5) <= 0) continue;
            const auto now = Clock::now();
            for (std::size_t i = 0; i < watched_.size(); ++i) {
                if (watched_[i].revents == 0) continue;
                ends_[i] = now;
                watched_[i].fd = -1;
            }
        }
    }
    std::vector<pollfd> watched_;
    std::vector<std::optional<Clock::time_point>> ends_;
    std::jthread watcher_;
};

}

TEST_SUITE("flips") {

TEST_CASE("flip: of 500 live connections exactly those that a change forbids end, within 100 ms" IPV4) {
    raise_descriptor_limit();
    World& world = World::shared();
    Server echo{world.far.netns(), 8080, apps::echo};
    Server other{world.far.netns(), 8081, apps::echo};
    Policies policies{world};
    std::vector<Call> calls;
    for (int i = 0; i < each_kind; ++i)
        for (Pod* from : {&world.client, &world.plain2})
            for (std::uint16_t port : {8080, 8081}) {
                calls.push_back({from, port, from->dial(world.far.at(Family::v4, port))});
                REQUIRE(calls.back().app.echoes("hello"));
            }
    REQUIRE(calls.size() == 500);

    int late = 0;  // a neighbour of this machine may spoil one
    auto flip = [&](const std::string& what, auto forbidden, const std::string& list, const std::string& named = {}) {
        CAPTURE(what);
        world.mark();
        const auto cut_before =
            world.two.metrics()["culvert_proxy_connections_closed_total{reason=\"policy_changed\"}"];
        const auto wanted = static_cast<std::size_t>(std::ranges::count_if(calls, forbidden));
        Ends ends{calls};
        const auto began = Clock::now();
        policies.publish(list, named, named.empty() ? nullptr : &world.far);
        eventually(5s, [&] { return world.two.access_log().since_mark().size() >= wanted; });
        const auto when = ends.stop();
        std::chrono::milliseconds last{};
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < calls.size(); ++i) {
            if (when[i].has_value() != forbidden(calls[i])) ++wrong;
            if (when[i]) last = std::max(last, std::chrono::duration_cast<Milliseconds>(*when[i] - began));
        }
        CHECK(wrong == 0);
        MESSAGE(what << ": " << wanted << " of " << calls.size() << " ended within " << last.count() << " ms");
        CHECK(last <= 10 * bar);
        late += last > bar;
        const auto lines = world.two.access_log().since_mark();
        CHECK(lines.size() == wanted);
        for (const AccessLine& line : lines)
            if (line["error"] != policy_changed || line.level != "error") FAIL_CHECK(line.raw);
        CHECK(world.two.metrics()["culvert_proxy_connections_closed_total{reason=\"policy_changed\"}"] - cut_before ==
              static_cast<double>(wanted));
        std::erase_if(calls, [&](Call& call) {
            if (forbidden(call)) CHECK(call.app.ending(5s) == "reset");
            return forbidden(call);
        });
        for (Call& call : calls) CHECK(call.app.echoes("still there"));
    };
    auto tunnelled = [&](const Call& call) { return call.from == &world.client; };
    const std::string two_kinds = policy_line("flip", "Namespace", "Deny",
                                              "[[[{principals: [!Suffix /sa/client], destinationPorts: [8080]}]], "
                                              "[[{notPrincipals: [!Presence []], destinationPorts: [8081]}]]]");
    flip(
        "a policy appears", [&](const Call& call) { return tunnelled(call) == (call.port == 8080); }, two_kinds);
    flip(
        "a policy that nobody names", [](const Call&) { return false; }, two_kinds + strict);
    flip(
        "a workload names it", [&](const Call& call) { return !tunnelled(call); }, two_kinds + strict, "ns/strict");
    CHECK(calls.size() == each_kind);
    flip(
        "all are refused", [](const Call&) { return true; }, policy_line("nobody", "Global", "Allow", "[]"));
    CHECK(late <= 1);
}

}
