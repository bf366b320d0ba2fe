// SPDX-License-Identifier: Apache-2.0
// Running a program of the system, in the network namespace that the calling thread is in. No shell, no search but for
// the program's file.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>

namespace culvert::capture {

// Where a program is: on PATH, then where daemons without one look. Empty when nowhere.
std::string find_program(const std::string& name);

struct Command {
    std::vector<std::string> words;  // the first is a path
    std::string input;               // for its standard input
    std::vector<std::string> environment;
    std::chrono::milliseconds limit{10'000};
};

// What it wrote to standard output. Fails, with its own words, when it ends badly or not in time (it is then killed).
// Blocks: control thread only.
base::Result<std::string> run(const Command& command);

}
