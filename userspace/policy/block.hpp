// SPDX-License-Identifier: Apache-2.0
// Policies that come together, each rule filed under what a connection must have for it to match.
#pragma once
#include <bitset>
#include <optional>
#include <unordered_map>

#include "facts.hpp"
#include "reduced.hpp"

namespace culvert::policy {

// Policies of one kind, asked in the order they came in.
class Index {
public:
    void add(NamedPtr policy);
    bool empty() const noexcept { return policies_.empty(); }
    // The first that matches, from this one on.
    std::optional<std::size_t> first(const Facts& facts, std::size_t from = 0) const noexcept;
    const NamedPtr& at(std::size_t i) const noexcept { return policies_[i]; }
    const std::vector<NamedPtr>& policies() const noexcept { return policies_; }

private:
    // Hashes: two that are equal by chance cost a look, for a rule is always asked itself.
    using Key = std::uint64_t;
    struct Filed {
        std::uint32_t policy;
        std::uint32_t rule;
    };
    using Files = std::vector<Filed>;
    struct Best;
    struct Parts {  // lengths in use, in order
        std::vector<std::size_t> starts, ends;
    };

    void file(Filed what, const Rule& rule);
    void file(Filed what, const Match& match);
    void look(const Files& files, const Facts& facts, Best& best) const noexcept;

    std::vector<NamedPtr> policies_;
    Files everywhere_;  // rules that nothing can be told of beforehand
    std::unordered_map<Key, Files> files_;
    std::bitset<129> source_lengths_;  // prefixes in use, of 128 bits
    std::bitset<129> destination_lengths_;
    Parts principal_parts_, namespace_parts_;
    std::bitset<16> kinds_;
};

class Block {
public:
    void add(NamedPtr policy);
    Index deny, allow, dry_deny, dry_allow;
    Reduced plaintext_denies, plaintext_allows;
    bool awaits = false;  // one is still to come, which may turn out to be anything
};

}
