// SPDX-License-Identifier: Apache-2.0
#include <culvert/policy/words.hpp>

#include <fmt/format.h>

#include "facts.hpp"

namespace culvert::policy {
namespace {

std::string text_of(const StringMatch& match) {
    switch (match.form) {
        case Form::exact: return "!Exact " + match.text;
        case Form::prefix: return "!Prefix " + match.text;
        case Form::suffix: return "!Suffix " + match.text;
        case Form::presence: break;
    }
    return "!Presence []";
}
std::string text_of(const Account& account) {
    return fmt::format("{{namespace: {}, serviceAccount: {}}}", account.namespace_, account.service_account);
}
std::string text_of(const state::Cidr& range) {
    return range.to_string();
}
std::string text_of(std::uint16_t port) {
    return std::to_string(port);
}

// A list of thousands is not read by anybody.
template <class Value>
void add(std::string& text, std::string_view key, const std::vector<Value>& list) {
    constexpr std::size_t shown = 8;
    if (list.empty()) return;
    text += fmt::format("{}{}: [", text.empty() ? "" : ", ", key);
    for (std::size_t i = 0; i < list.size() && i < shown; ++i) text += (i > 0 ? ", " : "") + text_of(list[i]);
    text += list.size() > shown ? fmt::format(", and {} more]", list.size() - shown) : "]";
}

std::string text_of(const Match& m) {
    std::string text;
    add(text, "namespaces", m.namespaces);
    add(text, "notNamespaces", m.not_namespaces);
    add(text, "principals", m.principals);
    add(text, "notPrincipals", m.not_principals);
    add(text, "serviceAccounts", m.service_accounts);
    add(text, "notServiceAccounts", m.not_service_accounts);
    add(text, "sourceIps", m.source_ips);
    add(text, "notSourceIps", m.not_source_ips);
    add(text, "destinationIps", m.destination_ips);
    add(text, "notDestinationIps", m.not_destination_ips);
    add(text, "destinationPorts", m.destination_ports);
    add(text, "notDestinationPorts", m.not_destination_ports);
    return text.empty() ? "nothing" : text;
}

std::string text_of(const Clause& clause) {
    std::string text;
    for (const Match& match : clause) text += (text.empty() ? "" : ", or ") + text_of(match);
    return clause.size() > 1 ? "(" + text + ")" : text;
}

std::string names(const Compiled& compiled, Action action) {
    constexpr std::size_t shown = 8;
    std::string text;
    std::size_t count = 0;
    for (const NamedPtr& named : compiled.policies()) {
        if (named->policy.action != action || named->policy.dry_run) continue;
        if (count++ < shown) text += (text.empty() ? "" : ", ") + named->key;
    }
    return count > shown ? fmt::format("{} and {} more", text, count - shown) : text;
}

}

std::optional<std::size_t> matching_rule(const Policy& policy, const Connection& connection) {
    const Facts facts{connection};
    for (std::size_t i = 0; i < policy.rules.size(); ++i)
        if (matches(policy.rules[i], facts)) return i;
    return std::nullopt;
}

std::string to_string(const Rule& rule) {
    std::string text;
    for (const Clause& clause : rule)
        if (!clause.empty()) text += (text.empty() ? "" : ", and ") + text_of(clause);
    return text.empty() ? "everything" : text;
}

std::string in_words(const Decision& decision, const Compiled* compiled, const Connection& connection) {
    if (!compiled) return "no policy applies to it";
    if (!decision.by) {
        if (decision.verdict == Verdict::not_allowed)
            return "allow policies exist, but none allowed: " + names(*compiled, Action::allow);
        auto denies = names(*compiled, Action::deny);
        return denies.empty() ? "no policy in force applies to it" : "none of these denies it: " + denies;
    }
    std::string text = (decision.allowed() ? "allowed by " : "denied by ") + decision.by->key;
    if (decision.by->is_awaited) return "waits for " + decision.by->key + ", which a workload names and is to come yet";
    if (decision.by->stand_in) return text + ", which a workload names and nobody has";
    if (auto rule = matching_rule(decision.by->policy, connection))
        text += fmt::format(", rules[{}]: {}", *rule, to_string(decision.by->policy.rules[*rule]));
    return text;
}

}
