// SPDX-License-Identifier: Apache-2.0
#include "command.hpp"

#include <doctest/doctest.h>

using namespace culvert::capture;
using namespace std::chrono_literals;

TEST_SUITE("capture") {

TEST_CASE("command: input goes in whole, output comes back whole") {
    std::string much(300'000, 'x');
    auto said = run({.words = {find_program("cat")}, .input = much});
    REQUIRE(said.has_value());
    CHECK(*said == much);
}

TEST_CASE("command: what a program says when it fails is in the error") {
    auto said = run({.words = {find_program("cat"), "/nowhere/at/all"}, .environment = {"LC_ALL=C"}});
    REQUIRE_FALSE(said.has_value());
    CHECK(said.error().to_string().find("/nowhere/at/all: No such file") != std::string::npos);
}

TEST_CASE("command: one that does not end is killed in time") {
    auto begin = std::chrono::steady_clock::now();
    auto said = run({.words = {find_program("sleep"), "60"}, .limit = 50ms});
    REQUIRE_FALSE(said.has_value());
    CHECK(said.error().to_string().find("did not end within 50 ms") != std::string::npos);
    CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("command: a program that is nowhere is not found") {
    CHECK(find_program("no-such-program-here").empty());
    CHECK_FALSE(run({.words = {"/no/such/program"}}).has_value());
}

}
