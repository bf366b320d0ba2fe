// SPDX-License-Identifier: Apache-2.0
#include "block.hpp"

#include <algorithm>

namespace culvert::policy {
namespace {

// The best thing to file under comes first: what fewest connections have in common. A part is a start or an end.
enum Kind : unsigned {
    principal,
    account,
    source,
    in_namespace,
    destination,
    part_of_principal,
    part_of_namespace,
    port,
    none
};

// FNV-1a
constexpr std::uint64_t begin_hash(Kind kind, unsigned more = 0) noexcept {
    return 0xcbf29ce484222325 + kind * 131 + more;
}
std::uint64_t go_on(std::uint64_t h, char byte) noexcept {
    return (h ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
}
std::uint64_t hash(Kind kind, const void* bytes, std::size_t length, unsigned more = 0) noexcept {
    std::uint64_t h = begin_hash(kind, more);
    const auto* at = static_cast<const char*>(bytes);
    for (std::size_t i = 0; i < length; ++i) h = go_on(h, at[i]);
    return h;
}
std::uint64_t hash(Kind kind, std::string_view text) noexcept {
    return hash(kind, text.data(), text.size());
}
// Of the first or the last so many letters, those at the edge first: a longer part's goes on where a shorter one's
// ended.
class PartHash {
public:
    PartHash(Kind kind, std::string_view whole, bool at_end) noexcept
        : whole_{whole}, at_end_{at_end}, h_{begin_hash(kind, at_end)} {}
    std::uint64_t of(std::size_t length) noexcept {  // not shorter than before
        for (; done_ < length; ++done_) h_ = go_on(h_, whole_[at_end_ ? whole_.size() - 1 - done_ : done_]);
        return h_;
    }

private:
    std::string_view whole_;
    bool at_end_;
    std::uint64_t h_;
    std::size_t done_ = 0;
};
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
// None of them fits everybody.
bool all_tell(const std::vector<StringMatch>& list) noexcept {
    return !list.empty() && std::ranges::all_of(list, [](const auto& text) {
        return text.form == Form::exact || (text.form != Form::presence && !text.text.empty());
    });
}

// What a connection must have, from a short list, for the match to hold.
Kind kind_of(const Match& match) noexcept {
    if (all_exact(match.principals)) return principal;
    if (!match.service_accounts.empty()) return account;
    if (!match.source_ips.empty()) return source;
    if (all_exact(match.namespaces)) return in_namespace;
    if (!match.destination_ips.empty()) return destination;
    if (all_tell(match.principals)) return part_of_principal;
    if (all_tell(match.namespaces)) return part_of_namespace;
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
    kinds_.set(kind);  // and, of texts, what each of them is
    auto under = [&](Key key) {
        Files& files = files_[key];
        const Filed* last = files.empty() ? nullptr : &files.back();
        if (!last || last->policy != what.policy || last->rule != what.rule) files.push_back(what);
    };
    auto under_texts = [&](Kind whole, Kind part, const std::vector<StringMatch>& texts, Parts& parts) {
        for (const StringMatch& text : texts) {
            kinds_.set(text.form == Form::exact ? whole : part);
            if (text.form == Form::exact) {
                under(hash(whole, text.text));
                continue;
            }
            const bool at_end = text.form == Form::suffix;
            auto& lengths = at_end ? parts.ends : parts.starts;
            const auto place = std::lower_bound(lengths.begin(), lengths.end(), text.text.size());
            if (place == lengths.end() || *place != text.text.size()) lengths.insert(place, text.text.size());
            under(PartHash{part, text.text, at_end}.of(text.text.size()));
        }
    };
    switch (kind) {
        case principal:
        case part_of_principal: under_texts(principal, part_of_principal, match.principals, principal_parts_); break;
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
        case part_of_namespace: under_texts(in_namespace, part_of_namespace, match.namespaces, namespace_parts_); break;
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
    for (const Filed& filed : files) {  // in the order of the policies
        if (filed.policy >= best.policy) return;
        if (filed.policy < best.from) continue;
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
    auto look_under_parts = [&](Kind kind, const std::vector<std::size_t>& lengths, std::string_view whole,
                                bool at_end) {
        PartHash part{kind, whole, at_end};
        for (std::size_t length : lengths) {
            if (length > whole.size()) return;
            look_under(part.of(length));
        }
    };
    auto look_under_both = [&](Kind kind, const Parts& parts, std::string_view whole) {
        if (!kinds_.test(kind)) return;
        look_under_parts(kind, parts.starts, whole, false);
        look_under_parts(kind, parts.ends, whole, true);
    };
    if (facts.has_peer && kinds_.test(principal)) look_under(hash(principal, facts.principal));
    if (facts.has_peer && kinds_.test(account)) look_under(hash(account, facts.account));
    if (kinds_.test(in_namespace)) look_under(hash(in_namespace, facts.namespace_));
    if (kinds_.test(port)) look_under(hash(facts.destination.port));
    if (facts.has_peer) look_under_both(part_of_principal, principal_parts_, facts.principal);
    look_under_both(part_of_namespace, namespace_parts_, facts.namespace_);
    look_under_ranges(source, source_lengths_, facts.source);
    look_under_ranges(destination, destination_lengths_, facts.destination.ip);
    if (best.policy == policies_.size()) return std::nullopt;
    return best.policy;
}

void Block::add(NamedPtr policy) {
    const Policy& p = policy->policy;
    Index& index = p.action == Action::deny ? (p.dry_run ? dry_deny : deny) : (p.dry_run ? dry_allow : allow);
    if (policy->is_awaited)
        awaits = true;
    else if (!p.dry_run)
        (p.action == Action::deny ? plaintext_denies : plaintext_allows).add(p);
    index.add(std::move(policy));
}

}
