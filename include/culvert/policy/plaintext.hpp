// SPDX-License-Identifier: Apache-2.0
// What a workload's policies say of plaintext by source address and destination port alone: a short list that the
// kernel can go through. It never refuses what decide() would allow.
#pragma once
#include <culvert/policy/set.hpp>

namespace culvert::policy {

struct PlaintextRule {
    state::Cidr source;  // without host bits
    std::uint16_t from_port = 0;
    std::uint16_t to_port = 65535;  // the last one
    bool refused = true;            // else it is an exception
    friend bool operator==(const PlaintextRule&, const PlaintextRule&) = default;
};

struct Plaintext {
    std::vector<PlaintextRule> rules;  // the first that fits says; what none fits is not refused here
    // What is not refused here is allowed. Else it is for decide() to say: a policy asks for a destination address, or
    // there are more of them than a short list can say.
    bool whole = true;
    friend bool operator==(const Plaintext&, const Plaintext&) = default;
};

// Of a workload that is subject to nothing (null), nothing.
Plaintext plaintext_of(const Compiled* compiled, std::size_t most_rules);

}
