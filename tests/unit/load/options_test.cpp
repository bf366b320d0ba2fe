// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <doctest/doctest.h>

using namespace culvert::load;

TEST_SUITE("load") {

TEST_CASE("options: a whole line is understood") {
    const auto options = parse_options({"crr", "fd71::10", "7000x4", "--connections", "8", "--bytes", "100",
                                        "--seconds", "2.5", "--warm", "0", "--account", "12,345"});
    REQUIRE(options.has_value());
    CHECK(options->host.to_string() == "fd71::10");
    CHECK(options->ports.nth(0) == 7000);
    CHECK(options->ports.nth(7) == 7003);
    CHECK(options->connections == 8);
    CHECK(options->bytes == 100);
    CHECK(options->seconds == 2.5);
    CHECK(options->warm == 0);
    CHECK(options->account == std::vector<pid_t>{12, 345});
}

TEST_CASE("options: a stream's socket is as the kernel makes it, unless one asks") {
    CHECK_FALSE(parse_options({"stream", "10.0.0.1", "7100"})->nodelay);
    CHECK(parse_options({"stream", "10.0.0.1", "7100", "--nodelay"})->nodelay);
}

TEST_CASE("options: what makes no sense is refused, and named") {
    struct Row {
        std::vector<std::string> arguments;
        std::string named;
    };
    for (const Row& row :
         {Row{{}, "missing"}, Row{{"walk"}, "walk"}, Row{{"rr", "10.0.0.1"}, "PORT"},
          Row{{"rr", "somewhere", "80"}, "somewhere"}, Row{{"rr", "10.0.0.1", "0"}, "'0'"},
          Row{{"rr", "10.0.0.1", "65535x2"}, "65535x2"}, Row{{"rr", "10.0.0.1", "80", "81"}, "'81'"},
          Row{{"rr", "10.0.0.1", "80", "--bytes", "0"}, "--bytes"}, Row{{"rr", "10.0.0.1", "80", "--bytes"}, "--bytes"},
          Row{{"rr", "10.0.0.1", "80", "--account", "1,x"}, "--account"},
          Row{{"rr", "10.0.0.1", "80", "--rate", "5"}, "--rate"}, Row{{"rate", "10.0.0.1", "80"}, "--rate"},
          Row{{"crr", "--each", "/nonexistent", "80"}, "--each"}, Row{{"serve"}, "--echo"},
          Row{{"rr", "10.0.0.1", "80", "--seconds", "inf"}, "--seconds"},
          Row{{"rr", "10.0.0.1", "80", "--warm", "-1"}, "--warm"}, Row{{"rr", "--bogus"}, "--bogus"}}) {
        const auto options = parse_options(row.arguments);
        CAPTURE(row.named);
        REQUIRE_FALSE(options.has_value());
        CAPTURE(options.error().to_string());
        CHECK(options.error().to_string().find(row.named) != std::string::npos);
    }
}

}
