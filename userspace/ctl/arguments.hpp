// SPDX-License-Identifier: Apache-2.0
// culvertctl's command line.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/base/result.hpp>

namespace culvert::ctl {

struct Command;

struct Options {
    const Command* command = nullptr;  // null: --help or --version alone
    std::string socket;
    std::string node;
    bool json = false;
    bool help = false;
    bool version = false;
    bool watch = false;
    bool all = false;
    std::chrono::milliseconds interval = std::chrono::seconds{1};
    std::string pod;
    std::uint64_t limit = 0;         // 0: none
    std::vector<std::string> words;  // behind the command
};

struct Option {
    std::string_view name;      // "--watch"
    std::string_view letter;    // "-w", or empty
    std::string_view argument;  // what it wants, for people: "NAME"; empty: nothing
    std::string_view summary;
    std::vector<std::string_view> values;  // all that it may be, when they are few
    // False when the value is none that it takes.
    bool (*set)(Options& options, const std::string& value);
};

// Those that every command has; and the others, by name.
const std::vector<const Option*>& common_options();
namespace option {
extern const Option watch, interval, pod, limit, all;
}

// Fails in words for people.
base::Result<Options> parse(const std::vector<std::string>& arguments);

}
