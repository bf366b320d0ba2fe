// SPDX-License-Identifier: Apache-2.0
#include <ctl/arguments.hpp>
#include <ctl/commands.hpp>

#include <doctest/doctest.h>

using namespace culvert::ctl;
using namespace std::chrono_literals;

TEST_SUITE("ctl") {

TEST_CASE("arguments: options stand before or behind the command, in any form") {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"-o", "json", "connections", "--pod", "ns/a", "-w", "--interval=0.5", "-l", "7"},
          std::vector<std::string>{"connections", "-p", "ns/a", "--watch", "-i", "0.5", "--limit=7",
                                   "--output=json"}}) {
        auto options = parse(words);
        REQUIRE(options.has_value());
        CHECK(options->command == &connections_command);
        CHECK(options->json);
        CHECK(options->watch);
        CHECK(options->interval == 500ms);
        CHECK(options->pod == "ns/a");
        CHECK(options->limit == 7);
    }
}

TEST_CASE("arguments: what is wrong is named") {
    struct Row {
        std::vector<std::string> words;
        std::string says;
    };
    for (const Row& row :
         {Row{{}, "no command is given"}, Row{{"statsu"}, "there is no command \"statsu\""},
          Row{{"--bogus"}, "no option --bogus"}, Row{{"status", "--limit", "1"}, "status has no option --limit"},
          Row{{"pods", "--pod"}, "--pod wants POD"}, Row{{"status", "more"}, "\"more\" is too much for status"},
          Row{{"-o", "xml", "status"}, "-o wants FORMAT, not \"xml\": table, or json"},
          Row{{"connections", "--limit", "0"}, "--limit wants NUMBER, not \"0\": not more than so many"},
          Row{{"status", "-w", "-i", "nan"},
              "-i wants SECONDS, not \"nan\": how long between two looks, 0.1 to 86400; 1 if it is not said"},
          Row{{"status", "--watch=yes"}, "--watch takes nothing"}, Row{{"completion"}, "completion wants bash or zsh"},
          Row{{"completion", "fish"}, "completion does not know \"fish\""},
          Row{{"explain", "a", "b"}, "explain wants SRC DST PORT"},
          Row{{"explain", "a", "b", "http"}, "explain wants SRC DST PORT, and \"http\" is no port from 1 to 65535"},
          Row{{"explain", "a", "b", "65536"}, "explain wants SRC DST PORT, and \"65536\" is no port from 1 to 65535"},
          Row{{"explain", "a", "b", "80", "c"}, "\"c\" is too much for explain"},
          Row{{"-s", "/a", "-n", "b", "status"}, "--socket and --node say the same: keep one"}}) {
        CAPTURE(row.says);
        auto options = parse(row.words);
        REQUIRE(options.has_error());
        CHECK(options.error().to_string() == row.says);
    }
}

TEST_CASE("arguments: help names every command, and a command's help every option of it") {
    auto all = help_text(nullptr);
    for (const Command* command : commands()) {
        CHECK(all.find("\n  " + std::string{command->name}) != std::string::npos);
        auto one = help_text(command);
        for (const Option* option : command->options) CHECK(one.find(option->name) != std::string::npos);
    }
}

}
