// SPDX-License-Identifier: Apache-2.0
// Authorization policies as ztunnel's static YAML and istiod's Authorization have them. Plain values.
//
//   policy: any of its rules;  rule: every clause;  clause: any of its matches;  match: every list that is not empty
//
// Empty: a policy without rules never matches, a rule without clauses always does, and so does a clause without
// matches; a match without lists never does.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/state/cidr.hpp>

namespace culvert::policy {

enum class Scope : std::uint8_t { global, of_namespace, of_workloads };
enum class Action : std::uint8_t { allow, deny };
enum class Form : std::uint8_t { exact, prefix, suffix, presence };

// A policy that a workload names and nobody has. deny: one that stands for a PeerAuthentication refuses plaintext, any
// other refuses all. allow: as if it were not named, which is what ztunnel does.
enum class Unknown : std::uint8_t { deny, allow };

std::string_view to_string(Scope) noexcept;    // "Global", "Namespace", "WorkloadSelector": as configured
std::string_view to_string(Action) noexcept;   // "Allow", "Deny"
std::string_view to_string(Unknown) noexcept;  // "deny", "allow"

struct StringMatch {
    Form form = Form::exact;
    std::string text;  // nothing for presence: any text that is not empty

    bool matches(std::string_view value) const noexcept;
    friend bool operator==(const StringMatch&, const StringMatch&) = default;
};

struct Account {
    std::string namespace_;
    std::string service_account;
    friend bool operator==(const Account&, const Account&) = default;
};

// A list restricts when it is not empty: one of the values, and none of the `not_` ones.
struct Match {
    std::vector<StringMatch> namespaces, not_namespaces;
    std::vector<StringMatch> principals, not_principals;  // of SPIFFE ids without "spiffe://"
    std::vector<Account> service_accounts, not_service_accounts;
    std::vector<state::Cidr> source_ips, not_source_ips;
    std::vector<state::Cidr> destination_ips, not_destination_ips;
    std::vector<std::uint16_t> destination_ports, not_destination_ports;
    friend bool operator==(const Match&, const Match&) = default;
};

using Clause = std::vector<Match>;
using Rule = std::vector<Clause>;

struct Policy {
    std::string name;
    std::string namespace_;
    Scope scope = Scope::of_workloads;
    Action action = Action::deny;
    std::vector<Rule> rules;
    bool dry_run = false;

    std::string key() const { return namespace_ + "/" + name; }
    friend bool operator==(const Policy&, const Policy&) = default;
};

}
