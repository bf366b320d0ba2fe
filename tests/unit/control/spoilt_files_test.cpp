// SPDX-License-Identifier: Apache-2.0
// Files that were cut off, or hit by chance: the reader may say anything, but says it, in one line, with the file's
// name.
#include <random>

#include <doctest/doctest.h>

#include <culvert/control/config.hpp>

#include "good_file.hpp"

using namespace culvert::control;

namespace {

std::size_t refused = 0;

void must_survive(const std::string& text) {
    auto loaded = parse_config(text, "f.yaml");
    if (loaded) return;
    ++refused;
    std::string error = loaded.error().to_string();
    CAPTURE(text);
    CAPTURE(error);
    REQUIRE(error.starts_with("f.yaml:"));
    REQUIRE(error.find('\n') == std::string::npos);
}

const std::string good = good_file;

}

TEST_SUITE("control") {

TEST_CASE("spoilt file: cut off anywhere") {
    refused = 0;
    for (std::size_t length = 0; length < good.size(); ++length) must_survive(good.substr(0, length));
    CHECK(refused > good.size() / 2);
}

TEST_CASE("spoilt file: one line left out") {
    for (std::size_t begin = 0; begin < good.size();) {
        std::size_t end = good.find('\n', begin) + 1;
        must_survive(good.substr(0, begin) + good.substr(end));
        begin = end;
    }
}

TEST_CASE("spoilt file: letters replaced by chance") {
    std::minstd_rand random{20260101};
    const std::string letters = std::string{"[]{}:,-&*!?|>'\"#%@`~ \n\t\\0aZ/."} + '\0' + "\xff\xc3\x28";
    auto one_of = [&](std::size_t count) { return std::uniform_int_distribution<std::size_t>{0, count - 1}(random); };
    refused = 0;
    for (int round = 0; round < 2000; ++round) {
        std::string text = good;
        for (std::size_t changes = 1 + one_of(4); changes > 0; --changes) {
            std::size_t at = one_of(text.size());
            switch (one_of(3)) {
                case 0: text[at] = letters[one_of(letters.size())]; break;
                case 1: text.insert(at, 1, letters[one_of(letters.size())]); break;
                case 2: text.erase(at, 1 + one_of(8)); break;
            }
        }
        must_survive(text);
    }
    CHECK(refused > 500);
}

TEST_CASE("spoilt file: pieces of it swapped by chance") {
    std::minstd_rand random{20260102};
    auto one_of = [&](std::size_t count) { return std::uniform_int_distribution<std::size_t>{0, count - 1}(random); };
    for (int round = 0; round < 1000; ++round) {
        std::string text = good;
        std::string piece = good.substr(one_of(good.size()), 1 + one_of(60));
        text.replace(one_of(text.size()), one_of(60), piece);
        must_survive(text);
    }
}

TEST_CASE("spoilt file: built to hurt the reader") {
    const std::string node = "node: {name: n}\n";
    for (const std::string& text : {
             node + "pods: " + std::string(100000, '['),
             node + "pods: " + std::string(100000, '{'),
             std::string(100000, '-'),
             node + "pods: &a [*a]\n",
             node + "log: &a {level: *a}\n",
             node + "workloads: &a\n- {uid: w, namespace: a, workloadIps: *a}\n",
             node + "policies: &a [{name: p, namespace: a, scope: Global, action: Deny, dryRun: true, rules: *a}]\n",
             node + "pods:\n- " + std::string(1000000, 'x') + "\n",
             node + "\"" + std::string(1000000, 'k') + "\": 1\n",
             node + "ca: {ttl: 99999999999999999999h}\n",
             node + "workers: 99999999999999999999\n",
             std::string("\xef\xbb\xbf"),
             std::string(",a"),  // documents without end
             node + ",a: b\n",
             std::string("\xff\xfe\0n", 4),
         }) {
        std::string begin = text.substr(0, 60);
        CAPTURE(begin);
        auto loaded = parse_config(text, "f.yaml");
        REQUIRE(loaded.has_error());
        std::string error = loaded.error().to_string();
        CHECK(error.starts_with("f.yaml:"));
        CHECK(error.size() < 1000);
    }
}

TEST_CASE("spoilt file: thousands of workloads are read in no time") {
    std::string text = "node: {name: n}\nworkloads:\n";
    for (int i = 0; i < 3000; ++i)
        text += "- {uid: u" + std::to_string(i) + ", namespace: a, workloadIps: [10.0." + std::to_string(i / 256) +
                "." + std::to_string(i % 256) + "], protocol: HBONE}\n";
    auto loaded = parse_config(text, "f.yaml");
    REQUIRE(loaded.has_value());
    CHECK(loaded->workloads.size() == 3000);
}

}
