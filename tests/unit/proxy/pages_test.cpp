// SPDX-License-Identifier: Apache-2.0
// What is counted is explained: lists in the code against the page people read.
#include <culvert/bpf/reasons.h>
#include <culvert/telemetry/close_reason.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

TEST_SUITE("docs") {

TEST_CASE("debugging page: has a row with the sentence of every reason") {
    std::ifstream file{DEBUGGING_PAGE};
    std::string page{std::istreambuf_iterator<char>{file}, {}};
    REQUIRE_FALSE(page.empty());
    auto has = [&](const std::string& name, const std::string& text) {
        CAPTURE(name);
        CHECK(page.find("| `" + name + "` | " + text + " | ") != std::string::npos);
    };
#define X(name, text) has(#name, text);
    CV_REASONS(X)
    CULVERT_CLOSE_REASONS(X)
#undef X
}

}
