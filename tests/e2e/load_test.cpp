// SPDX-License-Identifier: Apache-2.0
// The load generator against its own server, over loopback, no mesh: what it says must be what happened, because every
// measurement rests on it.
#include <doctest/doctest.h>
#include <signal.h>

#include <fstream>
#include <regex>

#include "outcome.hpp"
#include "process.hpp"
#include "wait.hpp"

using namespace culvert::test;

namespace {

// A member of the JSON object, -1 where there is none.
double member(const Output& output, const std::string& name) {
    std::smatch found;
    const std::regex shape{'"' + name + "\":([-+.0-9e]+)"};
    return std::regex_search(output.text, found, shape) ? std::stod(found[1]) : -1;
}

std::string contents(const std::filesystem::path& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

// A namespace with a server in it.
class Loopback {
public:
    explicit Loopback(std::vector<std::string> more = {}) {
        std::vector<std::string> command{CULVERT_LOAD, "serve", "--echo", "7000x4", "--sink", "7100"};
        command.insert(command.end(), more.begin(), more.end());
        server_ = Process{command, netns(), log()};
        REQUIRE(eventually(5s, [&] { return contents(log()).find("ready\n") != std::string::npos; }));
    }

    Output load(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), CULVERT_LOAD);
        return run(arguments, netns());
    }
    Process& server() { return server_; }
    int netns() const { return lab_.node_netns(1); }
    std::filesystem::path file(const char* name) const { return lab_.folder() / name; }

private:
    std::string log() const { return file("server.log"); }

    Lab lab_{1};
    Process server_;
};

// Latencies, CPU and the machine's busy time, as far as one can tell them from the outside.
void check_figures(const Output& output, double seconds) {
    CHECK(member(output, "errors") == 0);
    CHECK(member(output, "ops") > 0);
    CHECK(member(output, "seconds") == doctest::Approx(seconds).epsilon(0.2));
    CHECK(member(output, "cpu_s") > 0);
    CHECK(member(output, "self") > 0);
    CHECK(member(output, "cpu_us_per_op") ==
          doctest::Approx(member(output, "cpu_s") * 1e6 / member(output, "ops")).epsilon(0.01));
}

}

TEST_SUITE("load") {

TEST_CASE("load: requests and bytes agree, and the server's CPU is on the bill" NO_CAPTURE BOTH_FAMILIES) {
    Loopback loopback;
    const std::string pid = std::to_string(loopback.server().pid());
    for (Family family : families()) {
        const std::string host = family == Family::v4 ? "127.0.0.1" : "::1";
        struct Row {
            std::vector<std::string> arguments;
            double bytes;
        };
        for (const Row& row : {Row{{"rr", host, "7000", "--bytes", "1"}, 1}, Row{{"rr", host, "7000"}, 64},
                               Row{{"rr", host, "7000x4", "--connections", "16", "--bytes", "100"}, 100},
                               Row{{"rr", host, "7000", "--connections", "2", "--bytes", "700000"}, 700'000},
                               Row{{"crr", host, "7000x4"}, 64}, Row{{"crr", host, "7000x4", "--connections", "5"}, 64},
                               Row{{"rate", host, "7000", "--rate", "500", "--connections", "4"}, 64}}) {
            std::vector<std::string> arguments = row.arguments;
            arguments.insert(arguments.end(), {"--seconds", "0.3", "--warm", "0.05", "--account", pid});
            const Output output = loopback.load(arguments);
            CAPTURE(output.text);
            CHECK(output.status == 0);
            check_figures(output, 0.3);
            CHECK(member(output, "bytes") == row.bytes * member(output, "ops"));
            CHECK(member(output, pid) > 0);
            CHECK(member(output, "p50_us") > 1);
            CHECK(member(output, "p50_us") <= member(output, "p99_us"));
            CHECK(member(output, "p99_us") <= 1.01 * member(output, "max_us"));
        }
    }
}

TEST_CASE("load: an open loop does what its rate says" NO_CAPTURE IPV4) {
    Loopback loopback;
    const Output output = loopback.load({"rate", "127.0.0.1", "7000", "--rate", "400", "--seconds", "0.5"});
    CAPTURE(output.text);
    CHECK(output.status == 0);
    CHECK(member(output, "ops") == doctest::Approx(200).epsilon(0.1));
    CHECK(member(output, "behind") == 0);
}

TEST_CASE("load: a stream's bytes are those that the sink has swallowed" NO_CAPTURE BOTH_FAMILIES) {
    Loopback loopback;
    for (Family family : families()) {
        const std::string host = family == Family::v4 ? "127.0.0.1" : "::1";
        for (const char* connections : {"1", "3"}) {
            const Output output = loopback.load(
                {"stream", host, "7100", "--write", "10000", "--connections", connections, "--seconds", "0.3"});
            CAPTURE(output.text);
            CHECK(output.status == 0);
            check_figures(output, 0.3);
            CHECK(member(output, "sink_bytes") >= member(output, "bytes"));
            CHECK(member(output, "sink_bytes") <=
                  3 * member(output, "bytes"));  // with what was written before it counted
            CHECK(member(output, "gbit") > 0);
        }
    }
}

TEST_CASE("load: held connections are held, and one that dies is told" NO_CAPTURE IPV4) {
    Loopback loopback;
    const std::string log = loopback.file("held.log");
    Process kept{{CULVERT_LOAD, "hold", "127.0.0.1", "7000x4", "--connections", "50"}, loopback.netns(), log};
    const auto said = [&] { return Output{0, contents(log)}; };
    REQUIRE(eventually(5s, [&] { return said().text.find("{\"held\": 50}") != std::string::npos; }));
    SUBCASE("all lived") {
        kept.signal(SIGTERM);
        CHECK(kept.wait(5s) == 0);
        CHECK(member(said(), "died") == 0);
    }
    SUBCASE("the server ended") {
        loopback.server().signal(SIGTERM);
        CHECK(loopback.server().wait(5s) == 0);
        kept.signal(SIGTERM);
        CHECK(kept.wait(5s) == 1);
        CHECK(member(said(), "died") == 50);
        CHECK(said().text.find("a held connection died") != std::string::npos);
    }
}

TEST_CASE("load: each address of a file is visited once" NO_CAPTURE IPV4) {
    Loopback loopback;
    std::ofstream{loopback.file("addresses")} << "127.0.0.1\n127.0.0.2\n\n::1\n";
    const Output output = loopback.load({"crr", "--each", loopback.file("addresses"), "7000", "--bytes", "10"});
    CAPTURE(output.text);
    CHECK(output.status == 0);
    CHECK(member(output, "ops") == 3);
    CHECK(member(output, "bytes") == 30);
}

TEST_CASE("load: one corrupt byte is an error, and the end" NO_CAPTURE IPV4) {
    Loopback loopback{{"--corrupt"}};
    for (std::vector<std::string> arguments : {std::vector<std::string>{"rr"},
                                               {"rr", "--connections", "3"},
                                               {"crr"},
                                               {"crr", "--connections", "3"},
                                               {"hold"},
                                               {"rate", "--rate", "100"}}) {
        arguments.insert(arguments.begin() + 1, {"127.0.0.1", "7000", "--seconds", "0.2"});
        const Output output = loopback.load(arguments);
        CAPTURE(output.text);
        CHECK(output.status == 1);
        CHECK(member(output, "errors") > 0);
        CHECK(member(output, "ops") == 0);
        CHECK(output.text.find("a wrong byte in an answer") != std::string::npos);
    }
}

TEST_CASE("load: nobody there, and it ends with words" NO_CAPTURE IPV4) {
    Loopback loopback;
    for (std::vector<std::string> arguments : {std::vector<std::string>{"rr"},
                                               {"crr"},
                                               {"crr", "--connections", "3"},
                                               {"stream"},
                                               {"hold"},
                                               {"rate", "--rate", "100"}}) {
        arguments.insert(arguments.begin() + 1, {"127.0.0.1", "9", "--seconds", "0.2"});
        const Output output = loopback.load(arguments);
        CAPTURE(output.text);
        CHECK(output.status == 1);
        CHECK(member(output, "errors") > 0);
        CHECK(output.text.find("Connection refused") != std::string::npos);
    }
}

TEST_CASE("load: a server that dies in mid-flow ends it with words" NO_CAPTURE IPV4) {
    for (const std::vector<std::string>& more : {std::vector<std::string>{"rr", "127.0.0.1", "7000"},
                                                 {"rr", "127.0.0.1", "7000", "--connections", "3"},
                                                 {"crr", "127.0.0.1", "7000"},
                                                 {"stream", "127.0.0.1", "7100"}}) {
        Loopback loopback;
        const std::string log = loopback.file("load.log");
        std::vector<std::string> command{CULVERT_LOAD, more[0], more[1], more[2], "--seconds", "20"};
        command.insert(command.end(), more.begin() + 3, more.end());
        Process load{command, loopback.netns(), log};
        const auto used = [&] { return run({"ss", "-Htn", "state", "established"}, loopback.netns()).text.size(); };
        REQUIRE(eventually(5s, [&] { return used() > 0; }));
        loopback.server().signal(SIGKILL);
        CHECK(load.wait(5s) == 1);
        const Output output{1, contents(log)};
        CAPTURE(output.text);
        CHECK(member(output, "errors") > 0);
        CHECK(output.text.find(" errors, the first: ") != std::string::npos);
    }
}

TEST_CASE("load: a server that says nothing any more is not waited for" NO_CAPTURE IPV4) {
    Loopback loopback;
    loopback.server().signal(SIGSTOP);
    Process one{{CULVERT_LOAD, "rr", "127.0.0.1", "7000"}, loopback.netns(), loopback.file("one.log")};
    Process three{
        {CULVERT_LOAD, "rr", "127.0.0.1", "7000", "--connections", "3"}, loopback.netns(), loopback.file("three.log")};
    CHECK(one.wait(15s) == 1);
    CHECK(three.wait(15s) == 1);
    for (const char* log : {"one.log", "three.log"}) {
        CAPTURE(contents(loopback.file(log)));
        CHECK(contents(loopback.file(log)).find("nothing came for five seconds") != std::string::npos);
    }
    loopback.server().signal(SIGCONT);
}

}
