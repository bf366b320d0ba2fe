// SPDX-License-Identifier: Apache-2.0
// The binary as a script sees it: what it prints, and exit codes that mean something.
#include <doctest/doctest.h>

#include <fstream>
#include <regex>

#include "outcome.hpp"
#include "process.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

bool holds(const Output& output, std::string_view text) {
    return output.text.find(text) != std::string::npos;
}

}

TEST_SUITE("command line") {

TEST_CASE("command line: what it prints and how it ends" IPV4) {
    const auto bad = std::filesystem::temp_directory_path() / "culvert-bad.yaml";
    std::ofstream{bad} << "node: {name: x}\nnonsense: 1\n";
    struct Row {
        std::string name;
        std::vector<std::string> arguments;
        int status;
        std::vector<std::string> words;
    };
    for (const Row& row :
         {Row{"help", {"--help"}, 0, {"--config FILE", "cleanup", "check"}},
          Row{"version", {"version"}, 0, {"culvertd 0."}},
          Row{"version as an option", {"--version"}, 0, {"culvertd 0."}},
          Row{"nothing", {}, 2, {"--config FILE is missing"}}, Row{"unknown word", {"--bogus"}, 2, {"--bogus"}},
          Row{"check of a bad file", {"check", bad}, 3, {bad.string() + ":2", "nonsense"}},
          Row{"check of no file", {"check", "/nonexistent.yaml"}, 3, {"/nonexistent.yaml"}},
          Row{"run with a bad file", {"--config", bad}, 3, {bad.string() + ":2"}},
          Row{"run with no file", {"--config"}, 2, {"--config wants a FILE"}},
          Row{"check of an option", {"check", "--bogus"}, 2, {"check wants one FILE"}},
          Row{"help of check", {"check", "--help"}, 0, {"culvertd check FILE"}},
          Row{"help of cleanup", {"cleanup", "-h"}, 0, {"culvertd cleanup NODE"}},
          Row{"cleanup of an option", {"cleanup", "--bogus"}, 2, {"cleanup wants a node's name"}},
          Row{"cleanup where nothing is", {"cleanup", "no-such-node"}, 0, {"no capture of no-such-node here"}}}) {
        CAPTURE(row.name);
        std::vector<std::string> command{culvertd()};
        command.insert(command.end(), row.arguments.begin(), row.arguments.end());
        const Output output = run(command);
        CAPTURE(output.text);
        CHECK(output.status == row.status);
        for (const std::string& word : row.words) CHECK(holds(output, word));
    }
    std::filesystem::remove(bad);
}

TEST_CASE(
    "command line: version names the commit, the compiler, and each library as it runs and as it was built with" IPV4) {
    const Output output = run({culvertd(), "version"});
    CAPTURE(output.text);
    CHECK(output.status == 0);
    const std::string number = R"(\d+\.\d+(\.\d+)?)";
    const std::string both = number + R"([a-z]? \(built with )" + number + R"([a-z]?\)\n)";
    CHECK(std::regex_match(output.text, std::regex{R"(culvertd \d+\.\d+\.\d+ \(([0-9a-f]{12}(-dirty)?|unknown)\)\n)"
                                                   R"(compiler: (GNU|Clang) )" +
                                                   number + R"(, \w[\w ]*\n)" + "OpenSSL: " + both +
                                                   "nghttp2: " + both + "libbpf: " + both}));
    CHECK_FALSE(holds(output, "built with 0."));
}

TEST_CASE("command line: check says what a good file holds, and nothing is touched" IPV4) {
    World& world = World::shared();
    const Output output = run({culvertd(), "check", world.one.config_path()});
    CAPTURE(output.text);
    CHECK(output.status == 0);
    CHECK(holds(output, "is good"));
    CHECK(holds(output, "2 pods"));
    CHECK(holds(output, "0 policies"));
    CHECK(world.one.ready());
}

TEST_CASE("command line: cleanup while a daemon runs removes nothing, and says that it must end first" IPV4) {
    World& world = World::shared();
    const Output output = run({culvertd(), "cleanup", "--config", world.one.config_path()}, world.one.netns());
    CAPTURE(output.text);
    CHECK(output.status == 1);
    CHECK(holds(output, " end "));
    CHECK_FALSE(holds(output, "--take-over"));
    CHECK(world.one.ready());
}

TEST_CASE("command line: a first start that fails leaves nothing in the kernel" IPV4) {
    World& world = World::shared();  // its daemon has the doors
    const std::string name = world.lab.name() + "-first";
    const std::string file = world.lab.folder() / "first.yaml";
    std::ofstream{file} << "node: {name: " << name << "}\n";
    const Output output = run({culvertd(), "--config", file}, world.one.netns());
    CAPTURE(output.text);
    CHECK(output.status == 1);
    CHECK(holds(output, "Address already in use"));
    CHECK_FALSE(std::filesystem::exists("/sys/fs/bpf/culvert/" + name));
    CHECK(holds(run({culvertd(), "cleanup", name}), "there is no capture of " + name));
}

TEST_CASE("command line: the doors answer, counters are there from the start" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        CAPTURE(to_string(family));
        const IpAddress here = *IpAddress::parse(family == Family::v4 ? "127.0.0.1" : "::1");
        CHECK(http_get(world.one.netns(), {here, 15021}, "/healthz/ready").status == 200);
        const HttpAnswer page = http_get(world.one.netns(), {here, 15020}, "/metrics");
        CHECK(page.status == 200);
        const Samples samples = parse_samples(page.body);
        for (const char* metric : {"culvert_build_info", "culvert_capture_decisions_total", "culvert_capture_pods",
                                   "culvert_proxy_connections_open", "culvert_certificate_renewals_total",
                                   "culvert_access_log_dropped_total", "culvert_config_reloads_total"}) {
            CAPTURE(metric);
            CHECK(page.body.find(std::string{"# TYPE "} + metric) != std::string::npos);
        }
        CHECK(total(samples, "culvert_capture_pods") == 2);
        CHECK(http_get(world.one.netns(), {here, 15020}, "/nothing-here").status == 404);
    }
}

}
