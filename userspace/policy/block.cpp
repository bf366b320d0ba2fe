// SPDX-License-Identifier: Apache-2.0
#include "block.hpp"

#include <algorithm>

namespace culvert::policy {
namespace {

// The best thing to file under comes first: what fewest connections have in common.
enum Kind : unsigned { principal, account, source, in_namespace, destination, port, none };

// FNV-1a
std::uint64_t hash(Kind kind, const void* bytes, std::size_t length, unsigned more = 0) noexcept {
    std::uint64_t h = 0xcbf29ce484222325 + kind * 131 + more;
    const auto* at = static_cast<const unsigned char*>(bytes);
    for (std::size_t i = 0; i < length; ++i) h = (h ^ at[i]) * 0x100000001b3;
    return h;
}
std::uint64_t hash(Kind kind, std::string_view text) noexcept {
    return hash(kind, text.data(), text.size());
}
std::uint64_t hash(Kind kind, base::IpAddress ip, unsigned bits) noexcept {
    if (bits < 128) {
        ip.bytes[bits / 8] &= static_cast<std::uint8_t>(0xff00 >> (bits % 8));
        std::fill(ip.bytes.begin() + bits / 8 + 1, ip.bytes.end(), std::uint8_t{0});
    }
    return hash(kind, ip.bytes.data(), ip.bytes.size(), bits);
}
std::uint64_t hash(std::uint16_t number) noexcept {
    return hash(port, &number, sizeof number);
}

unsigned bits_of(const state::Cidr& range) noexcept {
    return range.prefix_length + (range.ip.is_v4() ? 96 : 0);
}

bool all_exact(const std::vector<StringMatch>& list) noexcept {
    return !list.empty() && std::ranges::all_of(list, [](const auto& text) { return text.form == Form::exact; });
}

// What a connection must have, from a short list, for the match to hold.
Kind kind_of(const Match& match) noexcept {
    if (all_exact(match.principals)) return principal;
    if (!match.service_accounts.empty()) return account;
    if (!match.source_ips.empty()) return source;
    if (all_exact(match.namespaces)) return in_namespace;
    if (!match.destination_ips.empty()) return destination;
    return match.destination_ports.empty() ? none : port;
}

// By its worst match. A clause without matches always holds.
Kind kind_of(const Clause& clause) noexcept {
    Kind worst = clause.empty() ? none : principal;
    for (const Match& match : clause)
        if (match != Match{}) worst = std::max(worst, kind_of(match));
    return worst;
}

}

struct Index::Best {
    std::size_t from;
    std::size_t policy;  // lower than this is wanted
};

void Index::add(NamedPtr policy) {
    const auto number = static_cast<std::uint32_t>(policies_.size());
    const auto& rules = policy->policy.rules;
    for (std::uint32_t i = 0; i < rules.size(); ++i) file({number, i}, rules[i]);
    policies_.push_back(std::move(policy));
}

void Index::file(Filed what, const Rule& rule) {
    const Clause* best = nullptr;
    for (const Clause& clause : rule)
        if (!best || kind_of(clause) < kind_of(*best)) best = &clause;
    if (!best || kind_of(*best) == none) return everywhere_.push_back(what);
    // One without lists never holds, and is filed nowhere.
    for (const Match& match : *best)
        if (match != Match{}) file(what, match);
}

void Index::file(Filed what, const Match& match) {
    const Kind kind = kind_of(match);
    kinds_.set(kind);
    auto under = [&](Key key) {
        Files& files = files_[key];
        const Filed* last = files.empty() ? nullptr : &files.back();
        if (!last || last->policy != what.policy || last->rule != what.rule) files.push_back(what);
    };
    switch (kind) {
        case principal:
            for (const auto& text : match.principals) under(hash(kind, text.text));
            break;
        case account:
            for (const auto& one : match.service_accounts)
                under(hash(kind, one.namespace_ + "/sa/" + one.service_account));
            break;
        case source:
            for (const auto& range : match.source_ips) {
                source_lengths_.set(bits_of(range));
                under(hash(kind, range.ip, bits_of(range)));
            }
            break;
        case in_namespace:
            for (const auto& text : match.namespaces) under(hash(kind, text.text));
            break;
        case destination:
            for (const auto& range : match.destination_ips) {
                destination_lengths_.set(bits_of(range));
                under(hash(kind, range.ip, bits_of(range)));
            }
            break;
        case port:
            for (std::uint16_t number : match.destination_ports) under(hash(number));
            break;
        case none: break;
    }
}

void Index::look(const Files& files, const Facts& facts, Best& best) const noexcept {
    for (const Filed& filed : files) {
        if (filed.policy < best.from || filed.policy >= best.policy) continue;
        if (matches(policies_[filed.policy]->policy.rules[filed.rule], facts)) best.policy = filed.policy;
    }
}

std::optional<std::size_t> Index::first(const Facts& facts, std::size_t from) const noexcept {
    if (policies_.empty()) return std::nullopt;
    Best best{from, policies_.size()};
    look(everywhere_, facts, best);
    auto look_under = [&](Key key) {
        if (auto found = files_.find(key); found != files_.end()) look(found->second, facts, best);
    };
    auto look_under_ranges = [&](Kind kind, const std::bitset<129>& lengths, const base::IpAddress& ip) {
        for (unsigned bits = 0; bits <= 128 && kinds_.test(kind); ++bits)
            if (lengths.test(bits)) look_under(hash(kind, ip, bits));
    };
    if (facts.has_peer && kinds_.test(principal)) look_under(hash(principal, facts.principal));
    if (facts.has_peer && kinds_.test(account)) look_under(hash(account, facts.account));
    if (kinds_.test(in_namespace)) look_under(hash(in_namespace, facts.namespace_));
    if (kinds_.test(port)) look_under(hash(facts.destination.port));
    look_under_ranges(source, source_lengths_, facts.source);
    look_under_ranges(destination, destination_lengths_, facts.destination.ip);
    if (best.policy == policies_.size()) return std::nullopt;
    return best.policy;
}

void Block::add(NamedPtr policy) {
    const Policy& p = policy->policy;
    Index& index = p.action == Action::deny ? (p.dry_run ? dry_deny : deny) : (p.dry_run ? dry_allow : allow);
    index.add(std::move(policy));
}

}
