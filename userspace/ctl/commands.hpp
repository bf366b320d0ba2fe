// SPDX-License-Identifier: Apache-2.0
// What culvertctl can do: a row for each command, whose file is named after it. The help text and the completions are
// made from these rows.
#pragma once
#include <boost/json/value.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "client.hpp"

namespace culvert::ctl {

struct Screen;

struct Command {
    std::string_view name;
    std::string_view summary;
    std::vector<const Option*> options;
    std::size_t word_count = 0;                // so many must follow
    std::string_view words_are = {};           // for people
    std::vector<std::string_view> words = {};  // all that they may be, when they are few
    std::size_t pods_first = 0;                // so many of them are pods
    // What is wrong with them, for people; empty: nothing.
    std::string (*check)(const std::vector<std::string>& words) = nullptr;
    // What `-o json` prints.
    base::Result<boost::json::value> (*ask)(const Client& client, const Options& options) = nullptr;
    // Or: what to ask for when the answer goes on, a line of JSON each; show() is given these.
    std::string (*stream)(const Options& options) = nullptr;
    // Two looks made one, where only their difference says something.
    boost::json::value (*compare)(const boost::json::value& before, const boost::json::value& now) = nullptr;
    std::string (*show)(const boost::json::value& answer, const Options& options, const Screen& screen) = nullptr;
    int (*exit_status)(const boost::json::value& answer) = nullptr;
    bool asks_nobody = false;  // needs no daemon
};

extern const Command status_command, pods_command, connections_command, policies_command, explain_command,
    trace_command, reasons_command, completion_command;

const std::vector<const Command*>& commands();
std::string help_text(const Command* command);  // null: of all

enum Exit { fine = 0, cannot_ask = 1, wrong_usage = 2, not_ready = 3, would_be_refused = 4 };

}
