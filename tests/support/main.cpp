// SPDX-License-Identifier: Apache-2.0
// The suite's main: doctest's own options, and `--matrix`, which lists case | capture | family, and why not where a
// capture cannot do it. Exit 77: skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "janitor.hpp"
#include "outcome.hpp"
#include "reasons.hpp"
#include "world.hpp"

using namespace culvert::test;

int main(int argc, char** argv) {
    std::vector<const char*> arguments{argv, argv + argc};
    const auto matrix = std::ranges::find(arguments, std::string_view{"--matrix"});
    const std::string reporters = std::string{"--reporters="} + matrix_reporter;
    const bool list = matrix != arguments.end();
    if (list) {
        *matrix = "--list-test-cases";
        arguments.push_back(reporters.c_str());
        arguments.push_back("--no-skip");  // cases of the other capture are rows too
    }
    doctest::Context context(static_cast<int>(arguments.size()), arguments.data());
    if (list) return context.run();
    if (::geteuid() != 0) {
        std::puts("skipped: network namespaces need root");
        return 77;
    }
    janitor::hire();
    const int status = context.run();
    World::end_shared();
    reasons::save();
    return anything_failed() ? 1 : status;
}
