// SPDX-License-Identifier: Apache-2.0
// The rules of authorization as they are written down, one sentence after the other, and as slow as it gets.
#pragma once
#include <algorithm>
#include <bitset>
#include <set>
#include <string>

#include <culvert/policy/set.hpp>

namespace culvert::policy::reference {

inline std::string principal(const Connection& c) {
    return c.peer ? c.peer->to_string().substr(std::string{"spiffe://"}.size()) : "";
}
inline std::string namespace_of(const Connection& c) {
    return c.peer ? c.peer->namespace_ : "";
}

inline bool text(const StringMatch& match, const std::string& value) {
    switch (match.form) {
        case Form::exact: return value == match.text;
        case Form::prefix: return value.substr(0, match.text.size()) == match.text;
        case Form::suffix:
            return value.size() >= match.text.size() && value.substr(value.size() - match.text.size()) == match.text;
        case Form::presence: return value != "";
    }
    return false;
}

inline std::bitset<128> bits(const base::IpAddress& ip) {
    std::bitset<128> all;
    for (std::size_t i = 0; i < 128; ++i) all[i] = (ip.bytes[i / 8] >> (7 - i % 8)) & 1;
    return all;
}

inline bool range(const state::Cidr& cidr, const base::IpAddress& ip) {
    if (cidr.ip.is_v4() != ip.is_v4()) return false;
    const std::size_t skipped = ip.is_v4() ? 96 : 0;
    for (std::size_t i = 0; i < cidr.prefix_length; ++i)
        if (bits(cidr.ip)[skipped + i] != bits(ip)[skipped + i]) return false;
    return true;
}

// One kind of attribute: any of the positive ones, none of the negative ones; a list that is empty is not there.
template <class T, class Is>
bool kind(const std::vector<T>& positive, const std::vector<T>& negative, Is is, bool& anything) {
    bool found = positive.empty();
    for (const T& each : positive) found = found || is(each);
    for (const T& each : negative) found = found && !is(each);
    anything = anything || !positive.empty() || !negative.empty();
    return found;
}

inline bool match(const Match& m, const Connection& c) {
    bool anything = false;
    bool all = kind(
        m.namespaces, m.not_namespaces, [&](auto& s) { return text(s, namespace_of(c)); }, anything);
    all = kind(
              m.principals, m.not_principals, [&](auto& s) { return c.peer && text(s, principal(c)); }, anything) &&
          all;
    auto account = [&](const Account& a) {
        return c.peer && c.peer->namespace_ == a.namespace_ && c.peer->service_account == a.service_account;
    };
    all = kind(m.service_accounts, m.not_service_accounts, account, anything) && all;
    all = kind(
              m.source_ips, m.not_source_ips, [&](auto& r) { return range(r, c.source); }, anything) &&
          all;
    all =
        kind(
            m.destination_ips, m.not_destination_ips, [&](auto& r) { return range(r, c.destination.ip); }, anything) &&
        all;
    all =
        kind(
            m.destination_ports, m.not_destination_ports, [&](auto p) { return p == c.destination.port; }, anything) &&
        all;
    return anything && all;
}

inline bool policy(const Policy& p, const Connection& c) {
    for (const Rule& rule : p.rules) {
        bool all = true;
        for (const Clause& clause : rule) {
            bool any = clause.empty();
            for (const Match& m : clause) any = any || match(m, c);
            all = all && any;
        }
        if (all) return true;
    }
    return false;
}

struct Answer {
    Verdict verdict = Verdict::allowed;
    std::set<std::string> by;        // those that decided, any of which may be named
    std::set<std::string> dry_runs;  // those that would have matched
};

inline Answer decide(const std::vector<Policy>& policies, const state::Workload& workload, const Connection& c,
                     Unknown unknown) {
    std::vector<Policy> candidates;
    auto named = [&](const Policy& p) {
        return std::ranges::count(workload.authorization_policies, p.namespace_ + "/" + p.name) > 0;
    };
    for (const Policy& p : policies) {
        const bool everybodys = p.scope == Scope::global || (p.scope == Scope::of_namespace && p.namespace_ == "");
        const bool of_namespace = p.scope == Scope::of_namespace && p.namespace_ == workload.namespace_;
        if (everybodys || of_namespace || named(p)) candidates.push_back(p);
    }
    Answer answer;
    std::set<std::string> denies, allows;
    bool allow_exists = false;
    for (const Policy& p : candidates) {
        const bool holds = policy(p, c);
        if (p.dry_run) {
            if (holds) answer.dry_runs.insert(p.key());
            continue;
        }
        allow_exists = allow_exists || p.action == Action::allow;
        if (holds) (p.action == Action::deny ? denies : allows).insert(p.key());
    }
    for (const std::string& name : workload.authorization_policies) {
        if (unknown == Unknown::allow || std::ranges::count(policies, name, &Policy::key) > 0) continue;
        const bool converted = name.find("/converted_peer_authentication_") != std::string::npos ||
                               name.ends_with("/istio_converted_static_strict");
        if (!converted || !c.peer) denies.insert(name);
    }
    if (!denies.empty())
        answer.verdict = Verdict::denied, answer.by = denies;
    else if (allow_exists && allows.empty())
        answer.verdict = Verdict::not_allowed;
    else
        answer.by = allows;
    return answer;
}

}
