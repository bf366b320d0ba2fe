// SPDX-License-Identifier: Apache-2.0
// Why a decision is what it is, for people. Nothing of it is on the data path.
#pragma once
#include <optional>
#include <string>

#include <culvert/policy/set.hpp>

namespace culvert::policy {

// The first rule of the policy that matches, counted from 0 as in the file.
std::optional<std::size_t> matching_rule(const Policy& policy, const Connection& connection);

// As the file has it, on one line: "principals: [!Exact td/ns/a/sa/b], destinationPorts: [80]"; "everything".
std::string to_string(const Rule& rule);

// "denied by ns/no-80, rules[0]: destinationPorts: [80]", "no policy applies to it".
std::string in_words(const Decision& decision, const Compiled* compiled, const Connection& connection);

}
