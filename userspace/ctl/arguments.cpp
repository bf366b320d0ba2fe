// SPDX-License-Identifier: Apache-2.0
#include "arguments.hpp"

#include <charconv>

#include <algorithm>
#include <cmath>

#include "commands.hpp"

namespace culvert::ctl {
namespace {

using base::problem;

template <class Number>
bool parse_number(const std::string& text, Number& into) {
    auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failed == std::errc{} && stop == text.data() + text.size();
}

template <std::string Options::*field>
bool set_text(Options& options, const std::string& value) {
    options.*field = value;
    return !value.empty();
}

template <bool Options::*field>
bool set_flag(Options& options, const std::string&) {
    options.*field = true;
    return true;
}

bool set_output(Options& options, const std::string& value) {
    options.json = value == "json";
    return value == "json" || value == "table";
}

bool set_interval(Options& options, const std::string& value) {
    double seconds = 0;
    if (!parse_number(value, seconds) || !(seconds >= 0.1) || seconds > 86'400) return false;
    options.interval = std::chrono::milliseconds{std::llround(seconds * 1000)};
    return true;
}

bool set_limit(Options& options, const std::string& value) {
    return parse_number(value, options.limit) && options.limit > 0;
}

const Option socket{"--socket", "-s", "PATH", "the daemon's control socket", {}, set_text<&Options::socket>};
const Option node{"--node", "-n", "NAME", "the daemon of this node, by its usual socket", {}, set_text<&Options::node>};
const Option output{"--output", "-o", "FORMAT", "table, or json", {"table", "json"}, set_output};
const Option help{"--help", "-h", "", "what there is", {}, set_flag<&Options::help>};
const Option version{"--version", "", "", "which culvertctl this is", {}, set_flag<&Options::version>};

const Option* find_option(const Command* command, const std::string& word) {
    auto matches = [&word](const Option* option) {
        return option->name == word || (!option->letter.empty() && option->letter == word);
    };
    const auto& common = common_options();
    if (auto found = std::ranges::find_if(common, matches); found != common.end()) return *found;
    if (!command) return nullptr;
    auto found = std::ranges::find_if(command->options, matches);
    return found == command->options.end() ? nullptr : *found;
}

const Command* find_command(const std::string& word) {
    for (const Command* command : commands())
        if (command->name == word) return command;
    return nullptr;
}

}

namespace option {
const Option watch{"--watch", "-w", "", "again and again, until it is interrupted", {}, set_flag<&Options::watch>};
const Option interval{
    "--interval", "-i", "SECONDS", "how long between two looks, 0.1 to 86400; 1 if it is not said", {}, set_interval};
const Option pod{"--pod", "-p", "POD", "of one pod: its name, namespace/name or uid", {}, set_text<&Options::pod>};
const Option limit{"--limit", "-l", "NUMBER", "not more than so many", {}, set_limit};
const Option all{"--all", "-a", "", "those that have not happened as well", {}, set_flag<&Options::all>};
}

const std::vector<const Option*>& common_options() {
    static const std::vector<const Option*> all{&socket, &node, &output, &help, &version};
    return all;
}

base::Result<Options> parse(const std::vector<std::string>& arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string word = arguments[i];
        if (!word.starts_with('-') || word == "-") {
            if (!options.command) {
                options.command = find_command(word);
                if (!options.command) return problem("there is no command \"" + word + "\"");
            } else if (options.words.size() < options.command->word_count) {
                const auto& known = options.command->words;
                if (!known.empty() && std::ranges::find(known, word) == known.end())
                    return problem(std::string{options.command->name} + " does not know \"" + word + "\"");
                options.words.push_back(word);
            } else {
                return problem("\"" + word + "\" is too much for " + std::string{options.command->name});
            }
            continue;
        }
        auto equals = word.starts_with("--") ? word.find('=') : std::string::npos;
        std::string name = word.substr(0, equals);
        const Option* found = find_option(options.command, name);
        if (!found)
            return problem((options.command ? std::string{options.command->name} + " has no option " : "no option ") +
                           name);
        std::string value;
        if (found->argument.empty()) {
            if (equals != std::string::npos) return problem(name + " takes nothing");
        } else if (equals != std::string::npos) {
            value = word.substr(equals + 1);
        } else if (++i < arguments.size()) {
            value = arguments[i];
        } else {
            return problem(name + " wants " + std::string{found->argument});
        }
        if (!found->set(options, value))
            return problem(name + " wants " + std::string{found->argument} + ", not \"" + value +
                           "\": " + std::string{found->summary});
    }
    if (options.help || options.version) return options;
    if (!options.command) return problem("no command is given");
    if (options.words.size() < options.command->word_count)
        return problem(std::string{options.command->name} + " wants " + std::string{options.command->words_are});
    if (options.command->check)
        if (auto wrong = options.command->check(options.words); !wrong.empty())
            return problem(std::string{options.command->name} + " wants " + wrong);
    if (!options.socket.empty() && !options.node.empty()) return problem("--socket and --node say the same: keep one");
    return options;
}

}
