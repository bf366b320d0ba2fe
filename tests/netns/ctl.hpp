// SPDX-License-Identifier: Apache-2.0
// culvertctl, as a case asks it.
#pragma once
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "process.hpp"
#include "world.hpp"

namespace culvert::test {

inline std::string ctl() {
    return std::getenv("CULVERTCTL") != nullptr ? std::getenv("CULVERTCTL") : CULVERT_CTL;
}

inline std::string name_of(const World& world, const Node& node) {
    return world.lab.node_name(node.number());
}

inline Output ask(const World& world, const Node& node, std::vector<std::string> words) {
    std::vector<std::string> command{ctl(), "--node", name_of(world, node)};
    command.insert(command.end(), words.begin(), words.end());
    return run(command);
}

inline boost::json::value ask_json(const World& world, const Node& node, std::vector<std::string> words,
                                   int status = 0) {
    words.insert(words.end(), {"-o", "json"});
    Output output = ask(world, node, std::move(words));
    REQUIRE_MESSAGE(output.status == status, output.text);
    return boost::json::parse(output.text);
}

inline std::string text(const boost::json::value& value) {
    return value.is_string() ? std::string{value.as_string().data(), value.as_string().size()} : "";
}

inline bool holds(const Output& output, const std::string& part) {
    return output.text.find(part) != std::string::npos;
}

}
