// SPDX-License-Identifier: Apache-2.0
// Daemons that are killed at any moment, for as long as is wanted (scripts/chaos): no byte is wrong, nothing passes in
// the clear, and the last ones that start carry everything again.
//
// Environment: CULVERT_CHAOS_SECONDS (16), CULVERT_CHAOS_SEED (1). A seed decides who is killed, when and how.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <sstream>

#include "checked_load.hpp"
#include "kernel_traces.hpp"
#include "outcome.hpp"
#include "tap.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

using Kind = CheckedLoad::Kind;

constexpr std::string_view secret = "never-in-the-clear";

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

// The daemon of one node, in the hands of somebody who kills.
class Victim {
public:
    explicit Victim(Node& node) : node_{node} {}

    void kill() {
        if (node_.running()) node_.kill9();
        end(daemon_);
    }
    void start() { daemon_ = launch({}); }
    void start_successor() { next_ = launch({"--take-over"}); }
    void kill_successor() { end(next_); }
    // Nobody but the successor is left, if that.
    void succeed() { daemon_ = std::move(next_); }
    bool first_ends() {
        return eventually(20s, [this] { return !running() || !next_.running(); }) && next_.running();
    }
    // Starts one if the last has ended, or ends instead of getting ready.
    bool gets_ready() {
        return eventually(25s, [this] {
            if (!running()) start();
            return node_.ready();
        });
    }
    // From here on the node starts it, and ends it.
    void give_back() {
        end(next_);
        kill();
        node_.start();
    }

private:
    Process launch(const std::vector<std::string>& more) const {
        std::vector<std::string> command{culvertd(), "--config", node_.config_path()};
        command.insert(command.end(), more.begin(), more.end());
        return Process{command, node_.netns(), node_.log_path()};
    }
    static void end(Process& process) {
        process.signal(SIGKILL);
        process.wait(5s);
    }
    bool running() { return node_.running() || daemon_.running(); }

    Node& node_;
    Process daemon_;
    Process next_;
};

class Killer {
public:
    Killer(World& world, std::uint64_t seed) : one_{world.one}, two_{world.two}, random_{seed} {}

    // False when a daemon did not get ready.
    bool strike() {
        if (todo_.empty()) shuffle();
        const How how = todo_.back();
        todo_.pop_back();
        rest(100 + below(600));
        ++strikes_;
        if (how == How::both) return kill_both();
        Victim& victim = below(2) == 0 ? one_ : two_;
        if (how == How::successor || how == How::first || how == How::all || how == How::nobody)
            return take_over(victim, how);
        victim.kill();
        rest(below(300));
        for (auto starts = how == How::in_start ? 1 + below(2) : 0; starts > 0; --starts) {
            victim.start();
            rest(below(400));
            victim.kill();
            ++in_start_;
        }
        victim.start();
        return victim.gets_ready();
    }
    void give_back() {
        one_.give_back();
        two_.give_back();
    }
    std::string counts() const {
        return std::to_string(strikes_) + " strikes: " + std::to_string(in_start_) + " in a start, " +
               std::to_string(in_take_over_) + " in a take-over, " + std::to_string(both_) + " at both nodes; " +
               std::to_string(taken_over_) + " take-overs left alone";
    }

private:
    // A daemon, both nodes', one that is starting; of the two of a take-over: either, all, or nobody.
    enum class How { one, both, in_start, successor, first, all, nobody };

    // Each once before any comes again.
    void shuffle() {
        todo_ = {How::one, How::both, How::in_start};
        // Rules lead to fixed ports, which two daemons cannot both have.
        if (capture_mode() == "ebpf") todo_.insert(todo_.end(), {How::successor, How::first, How::all, How::nobody});
        for (std::size_t left = todo_.size(); left > 1; --left) std::swap(todo_[left - 1], todo_[below(left)]);
    }
    bool kill_both() {
        ++both_;
        one_.kill();
        two_.kill();
        rest(below(200));
        one_.start();
        two_.start();
        const bool first = one_.gets_ready();
        return two_.gets_ready() && first;
    }
    bool take_over(Victim& victim, How who_dies) {
        const auto when = below(500);
        victim.start_successor();
        if (who_dies == How::nobody) {
            ++taken_over_;
            if (victim.first_ends()) victim.succeed();
            return victim.gets_ready();
        }
        ++in_take_over_;
        rest(when);
        if (who_dies != How::first) victim.kill_successor();
        if (who_dies != How::successor) victim.kill();
        if (who_dies == How::first) victim.succeed();
        return victim.gets_ready();
    }
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    static void rest(std::uint64_t milliseconds) { std::this_thread::sleep_for(Milliseconds(milliseconds)); }

    Victim one_, two_;
    std::mt19937_64 random_;
    std::vector<How> todo_;
    int strikes_ = 0, in_start_ = 0, in_take_over_ = 0, both_ = 0, taken_over_ = 0;
};

// Connections of a pod that are not tunnels, which are kept for a while.
std::string sockets_of(const Pod& pod) {
    std::istringstream lines{run({"ss", "-Htan", "state", "connected", "exclude", "time-wait"}, pod.netns()).text};
    std::string held;
    for (std::string line; std::getline(lines, line);)
        if (line.find(":15008") == std::string::npos) held += line + "\n";
    return held;
}

bool is_carried(const Pod& from, const SocketAddress& to) {
    Connection connection = from.dial(to);
    connection.send(std::string{secret} + " echo 0 0\n");
    return connection.echoes("as before");
}

// How often each failure is told of.
std::map<std::string, int> failures_in(const AccessLog& log) {
    std::map<std::string, int> failures;
    for (const AccessLine& line : log.since_mark())
        if (!line["error"].empty()) ++failures[line["error"]];
    return failures;
}

}

TEST_SUITE("chaos") {

TEST_CASE("chaos: daemons are killed at any moment, and no byte is wrong, in the clear or left behind" BOTH_FAMILIES) {
    const auto seconds = number_from("CULVERT_CHAOS_SECONDS", 16);
    const auto seed = number_from("CULVERT_CHAOS_SEED", 1);
    std::printf("chaos: seed %llu, %llu seconds\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(seconds));
    World world;
    CheckedLoad load{std::string{secret}};
    Server near{world.near.netns(), 8080, load.app()};
    Server far{world.far.netns(), 8080, load.app()};
    Tap wire{world.lab.node_netns(1), "wire", std::string{secret}};
    std::uint64_t caller = seed * 100;
    for (Kind kind : {Kind::echo, Kind::down, Kind::up}) {
        load.call(world.client, world.vip("far", Family::v4), kind, ++caller);
        load.call(world.far, world.near.at(Family::v6, 8080), kind, ++caller);
        load.call(world.client, world.near.at(Family::v4, 8080), kind, ++caller);
        load.call(world.plain1, world.near.at(Family::v6, 8080), kind, ++caller);
    }

    Killer killer{world, seed};
    const Stopwatch watch;
    bool ready = true;
    while (ready && watch.elapsed() < std::chrono::seconds(seconds)) ready = killer.strike();
    CHECK(ready);
    const int whole_before = load.counts().whole;
    CHECK(eventually(15s, [&] { return load.counts().whole >= whole_before + 20; }));  // before anybody starts anew
    load.stop();
    std::printf("chaos: %s\nchaos: %d connections whole, %d cut, %d refused, %llu MiB checked\n",
                killer.counts().c_str(), load.counts().whole.load(), load.counts().cut.load(),
                load.counts().refused.load(), static_cast<unsigned long long>(load.counts().bytes >> 20));
    const auto wrong = load.wrong();
    for (const std::string& each : wrong) MESSAGE(each);
    CHECK(wrong.empty());
    CHECK(load.counts().cut > 0);
    CHECK(load.counts().refused > 0);
    const auto leaks = wire.packets();
    CHECK_MESSAGE(leaks.empty(), Tap::list(leaks));
    CHECK(wire.others().empty());

    killer.give_back();
    for (Family family : families()) {
        CHECK(is_carried(world.client, world.vip("far", family)));
        CHECK(is_carried(world.far, world.near.at(family, 8080)));
        CHECK(is_carried(world.client, world.near.at(family, 8080)));
        CHECK(is_carried(world.plain1, world.near.at(family, 8080)));
    }
    // Nothing is held for connections that are long gone.
    for (const Pod* pod : {&world.client, &world.near, &world.far}) {
        CAPTURE(pod->name());
        std::string held;
        CHECK_MESSAGE(eventually(20s, [&] { return (held = sockets_of(*pod)).empty(); }), held);
    }
    // What happened is in the words of those who lived.
    std::size_t told = 0;
    for (Node* node : {&world.one, &world.two})
        for (const auto& [text, count] : failures_in(node->access_log())) {
            ++told;
            std::printf("chaos: node %d, %d x %s\n", node->number(), count, text.c_str());
        }
    CHECK(told > 0);

    for (Node* node : {&world.one, &world.two}) {
        CAPTURE(node->number());
        const std::vector<std::string> links = pinned_links(*node);
        if (capture_mode() == "ebpf") CHECK(left_over_pins(*node).empty());
        node->signal(SIGTERM);
        CHECK(node->wait_exit(20s) == 0);
        const Output cleaned = node->cleanup();
        CHECK_MESSAGE(cleaned.status == 0, cleaned.text);
        CHECK_FALSE(std::filesystem::exists(pin_folder(*node)));
        CHECK(eventually(15s, [&] { return living_links(links).empty(); }));
    }
    for (const Pod* pod : {&world.client, &world.near, &world.far}) CHECK(left_in(*pod) == "");
}

}
