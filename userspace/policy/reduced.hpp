// SPDX-License-Identifier: Apache-2.0
// What is left of policies when the peer is known to be nobody: who it is decides most rules at once.
#pragma once
#include <culvert/policy/policy.hpp>

namespace culvert::policy {

// Every clause, and of each any match. Borrows the matches. Without clauses it always holds.
using ReducedRule = std::vector<std::vector<const Match*>>;

// Of policies that share an action.
struct Reduced {
    bool always = false;             // some rule holds for every plaintext connection
    std::vector<ReducedRule> rules;  // those that hold for some

    void add(const Policy& policy);
};

enum class Truth { no, maybe, yes };

// Connections from a range that no range of the rule divides, to a port. The destination's address is not known.
struct Region {
    state::Cidr source;
    std::uint16_t port = 0;
};
Truth matches(const ReducedRule& rule, const Region& region) noexcept;

}
