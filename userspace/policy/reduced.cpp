// SPDX-License-Identifier: Apache-2.0
#include "reduced.hpp"

#include <algorithm>
#include <optional>

#include "facts.hpp"

namespace culvert::policy {
namespace {

enum class Left { nothing, something, everything };

// Of a connection from nobody: its namespace is an empty text, as decide() has it.
Left left_of(const Match& match) noexcept {
    auto is_nobodys = [](const StringMatch& text) { return text.matches(""); };
    if (!match.principals.empty() || !match.service_accounts.empty()) return Left::nothing;
    if (!match.namespaces.empty() && std::ranges::none_of(match.namespaces, is_nobodys)) return Left::nothing;
    if (std::ranges::any_of(match.not_namespaces, is_nobodys)) return Left::nothing;
    const bool asks_for_more = !match.source_ips.empty() || !match.not_source_ips.empty() ||
                               !match.destination_ips.empty() || !match.not_destination_ips.empty() ||
                               !match.destination_ports.empty() || !match.not_destination_ports.empty();
    if (asks_for_more) return Left::something;
    return match == Match{} ? Left::nothing : Left::everything;  // one without lists never holds
}

// No rule at all: it never holds.
std::optional<ReducedRule> reduce(const Rule& rule) {
    ReducedRule reduced;
    for (const Clause& clause : rule) {
        if (clause.empty()) continue;
        std::vector<const Match*> matches;
        bool always = false;
        for (const Match& match : clause) {
            const Left left = left_of(match);
            always = always || left == Left::everything;
            if (left == Left::something) matches.push_back(&match);
        }
        if (always) continue;
        if (matches.empty()) return std::nullopt;
        reduced.push_back(std::move(matches));
    }
    return reduced;
}

bool contains(const state::Cidr& outer, const state::Cidr& inner) noexcept {
    return outer.prefix_length <= inner.prefix_length && outer.contains(inner.ip);
}

Truth matches(const Match& match, const Region& region) noexcept {
    auto from = [&](const state::Cidr& range) { return contains(range, region.source); };
    auto to = [&](std::uint16_t port) { return port == region.port; };
    if (!fits(match.source_ips, match.not_source_ips, from)) return Truth::no;
    if (!fits(match.destination_ports, match.not_destination_ports, to)) return Truth::no;
    return match.destination_ips.empty() && match.not_destination_ips.empty() ? Truth::yes : Truth::maybe;
}

}

void Reduced::add(const Policy& policy) {
    for (const Rule& rule : policy.rules) {
        auto reduced = reduce(rule);
        if (!reduced) continue;
        if (reduced->empty())
            always = true;
        else
            rules.push_back(std::move(*reduced));
    }
}

Truth matches(const ReducedRule& rule, const Region& region) noexcept {
    Truth all = Truth::yes;
    for (const auto& clause : rule) {
        Truth any = Truth::no;
        for (const Match* match : clause) any = std::max(any, matches(*match, region));
        all = std::min(all, any);
    }
    return all;
}

}
