// SPDX-License-Identifier: Apache-2.0
#include <culvert/policy/plaintext.hpp>

#include <algorithm>
#include <set>

#include "block.hpp"

namespace culvert::policy {
namespace {

// So that the longest takes a few milliseconds for all pods of a node.
constexpr std::size_t most_ranges = 32;
constexpr std::size_t most_ports = 32;
constexpr std::size_t most_reduced = 64;

using Ports = std::pair<std::uint16_t, std::uint16_t>;  // first, last

const state::Cidr all4 = *state::Cidr::parse("0.0.0.0/0");
const state::Cidr all6 = *state::Cidr::parse("::/0");

// The rules that are looked at, and where their answers may differ.
struct Ground {
    std::vector<ReducedRule> denies;
    std::vector<ReducedRule> allows;
    bool wants_allow = false;  // what no policy allows is refused
    std::set<state::Cidr> ranges{all4, all6};
    std::set<std::uint16_t> ports;
};

bool add(Ground& ground, std::vector<ReducedRule>& to, const ReducedRule& rule) {
    if (ground.denies.size() + ground.allows.size() >= most_reduced) return false;
    auto ranges = ground.ranges;
    auto ports = ground.ports;
    for (const auto& clause : rule)
        for (const Match* match : clause) {
            for (const auto* list : {&match->source_ips, &match->not_source_ips})
                for (const auto& range : *list) ranges.insert({range.network(), range.prefix_length});
            for (const auto* list : {&match->destination_ports, &match->not_destination_ports})
                ports.insert(list->begin(), list->end());
            if (ranges.size() > most_ranges || ports.size() > most_ports) return false;
        }
    ground.ranges = std::move(ranges);
    ground.ports = std::move(ports);
    to.push_back(rule);
    return true;
}

// False: there is no room for all of them.
bool add(Ground& ground, std::vector<ReducedRule>& to, const Reduced& reduced) {
    return std::ranges::all_of(reduced.rules, [&](const ReducedRule& rule) { return add(ground, to, rule); });
}

// Each mentioned port, and what is between them.
std::vector<Ports> stretches(const std::set<std::uint16_t>& ports) {
    std::vector<Ports> all;
    unsigned next = 0;
    auto upto = [&](unsigned end) {
        if (next < end) all.emplace_back(next, end - 1);
    };
    for (unsigned port : ports) {
        upto(port);
        all.emplace_back(port, port);
        next = port + 1;
    }
    upto(65536);
    return all;
}

Truth any(const std::vector<ReducedRule>& rules, const Region& region) noexcept {
    Truth found = Truth::no;
    for (const auto& rule : rules) found = std::max(found, matches(rule, region));
    return found;
}

bool is_inside(const state::Cidr& inner, const state::Cidr& outer) noexcept {
    return outer.prefix_length < inner.prefix_length && outer.contains(inner.ip);
}

struct Judged {
    state::Cidr source;
    std::vector<bool> refused;  // by stretch
};

class Judge {
public:
    explicit Judge(const Ground& ground) : ground_{ground}, stretches_{stretches(ground.ports)} {
        for (const auto& range : ground.ranges) judged_.push_back(judge(range));
        // The longest first, as the first that fits says. IPv4 before IPv6, for people.
        std::ranges::stable_sort(judged_, [](const Judged& a, const Judged& b) {
            if (a.source.ip.is_v4() != b.source.ip.is_v4()) return a.source.ip.is_v4();
            return a.source.prefix_length > b.source.prefix_length;
        });
    }

    bool whole() const noexcept { return whole_; }
    // Without what a shorter prefix, further down the list, says as well.
    std::vector<PlaintextRule> rules() const {
        std::vector<PlaintextRule> list;
        for (std::size_t i = 0; i < judged_.size(); ++i) {
            const auto shorter = std::find_if(judged_.begin() + static_cast<std::ptrdiff_t>(i), judged_.end(),
                                              [&](const Judged& o) { return is_inside(judged_[i].source, o.source); });
            add_where_they_differ(list, judged_[i], shorter == judged_.end() ? nothing() : shorter->refused);
        }
        return list;
    }

private:
    Judged judge(const state::Cidr& range) {
        Judged judged{range, {}};
        for (const Ports& ports : stretches_) {
            const Region region{range, ports.first};
            const Truth denied = any(ground_.denies, region);
            const Truth allowed = ground_.wants_allow ? any(ground_.allows, region) : Truth::yes;
            const bool refused = denied == Truth::yes || allowed == Truth::no;
            whole_ = whole_ && (refused || (denied == Truth::no && allowed == Truth::yes));
            judged.refused.push_back(refused);
        }
        return judged;
    }
    std::vector<bool> nothing() const { return std::vector<bool>(stretches_.size(), false); }

    void add_where_they_differ(std::vector<PlaintextRule>& list, const Judged& one,
                               const std::vector<bool>& else_refused) const {
        for (std::size_t from = 0, end = 0; from < stretches_.size(); from = end) {
            while (end < stretches_.size() && one.refused[end] == one.refused[from]) ++end;
            std::size_t first = from, last = end;
            while (first < last && else_refused[first] == one.refused[from]) ++first;
            while (last > first && else_refused[last - 1] == one.refused[from]) --last;
            if (first < last)
                list.push_back({one.source, stretches_[first].first, stretches_[last - 1].second, one.refused[from]});
        }
    }

    const Ground& ground_;
    std::vector<Ports> stretches_;
    std::vector<Judged> judged_;
    bool whole_ = true;
};

// From nothing that is refused further down.
bool excepts_nothing(const std::vector<PlaintextRule>& rules, std::size_t i) {
    return !rules[i].refused &&
           std::none_of(rules.begin() + static_cast<std::ptrdiff_t>(i), rules.end(),
                        [&](const auto& o) { return o.refused && is_inside(rules[i].source, o.source); });
}

// What goes is a refusal, and what is no exception without it: others refuse instead, or nobody does.
void shorten(std::vector<PlaintextRule>& rules, std::size_t most) {
    while (rules.size() > most) {
        rules.erase(std::ranges::find_if(rules, &PlaintextRule::refused));
        for (std::size_t i = rules.size(); i-- > 0;)
            if (excepts_nothing(rules, i)) rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

Plaintext everything() {
    return {{{all4}, {all6}}, true};
}

}

Plaintext plaintext_of(const Compiled* compiled, std::size_t most_rules) {
    if (!compiled) return {};
    std::vector<const Block*> blocks;
    for (const auto& block : compiled->blocks_)
        if (block) blocks.push_back(block.get());
    auto some = [&](auto is) { return std::ranges::any_of(blocks, is); };
    const bool awaits = some([](const Block* b) { return b->awaits; });
    const bool wants_allow = !awaits && some([](const Block* b) { return !b->allow.empty(); }) &&
                             !some([](const Block* b) { return b->plaintext_allows.always; });
    const bool may_allow = some([](const Block* b) { return !b->plaintext_allows.rules.empty(); });
    if (some([](const Block* b) { return b->plaintext_denies.always; }) || (wants_allow && !may_allow))
        return everything();

    // Fewer of those that deny refuse less. Of those that allow, all must be known to say that none does: so they come
    // first, and count for nothing where there are too many.
    Ground ground{.wants_allow = wants_allow};
    bool has_room = true;
    for (const Block* block : blocks)
        if (wants_allow) has_room = has_room && add(ground, ground.allows, block->plaintext_allows);
    if (!has_room) ground = {};
    bool has_all = has_room && !awaits;
    for (const Block* block : blocks) has_all = add(ground, ground.denies, block->plaintext_denies) && has_all;

    Plaintext plaintext{{}, has_all};
    if (ground.denies.empty() && !ground.wants_allow) return plaintext;
    const Judge judge{ground};
    plaintext.rules = judge.rules();
    plaintext.whole = has_all && judge.whole() && plaintext.rules.size() <= most_rules;
    shorten(plaintext.rules, most_rules);
    return plaintext;
}

}
