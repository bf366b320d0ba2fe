// SPDX-License-Identifier: Apache-2.0
// Authorization policies as ztunnel's LOCAL_XDS_PATH file has them.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "schema.hpp"

namespace culvert::control {

using namespace yaml;

namespace {

constexpr std::string_view any_string_match =
    "!Exact, !Prefix or !Suffix with text, !Presence [], or a mapping such as {Exact: text}";

void operand(const Cursor& at, std::string_view kind, policy::StringMatch& into) {
    using enum policy::Form;
    if (kind == "Exact" || kind == "Prefix" || kind == "Suffix") {
        into.form = kind == "Exact" ? exact : kind == "Prefix" ? prefix : suffix;
        into.text = at.text("text after " + std::string{kind});
        return;
    }
    if (kind != "Presence") at.expected(any_string_match);
    into.form = presence;
    if (at.is_null() || at.is_empty_text()) return;  // a tag on nothing comes as empty text
    at.items([](const Cursor& item) { item.expected("an empty list after Presence"); });
}

// ztunnel's loader wants tags, its config_dump prints mappings; both are read.
Reader string_match(policy::StringMatch& into) {
    return {std::string{any_string_match}, [&into](const Cursor& at) {
                std::string tag = at.tag();
                if (tag.size() > 1 && tag.front() == '!') return operand(at, std::string_view{tag}.substr(1), into);
                if (!at.is_mapping()) at.expected(any_string_match);
                std::size_t kinds = 0;
                at.entries([&](const Cursor& kind, const Cursor& value) {
                    ++kinds;
                    constexpr std::array known{"Exact", "Prefix", "Suffix", "Presence"};
                    if (std::ranges::find(known, kind.text()) == known.end()) kind.expected(any_string_match);
                    operand(value, kind.text(), into);
                });
                if (kinds != 1) at.expected("one of Exact, Prefix, Suffix or Presence");
            }};
}

Reader service_account(policy::Account& into) {
    return section([&into](const Cursor& at) {
        at.fields(
            {{"namespace", text(into.namespace_), required}, {"serviceAccount", text(into.service_account), required}});
    });
}

Reader match(policy::Match& m) {
    return section([&m](const Cursor& at) {
        at.fields({{"namespaces", list(m.namespaces, string_match)},
                   {"notNamespaces", list(m.not_namespaces, string_match)},
                   {"principals", list(m.principals, string_match)},
                   {"notPrincipals", list(m.not_principals, string_match)},
                   {"serviceAccounts", list(m.service_accounts, service_account)},
                   {"notServiceAccounts", list(m.not_service_accounts, service_account)},
                   {"sourceIps", list(m.source_ips, cidr)},
                   {"notSourceIps", list(m.not_source_ips, cidr)},
                   {"destinationIps", list(m.destination_ips, cidr)},
                   {"notDestinationIps", list(m.not_destination_ips, cidr)},
                   {"destinationPorts", list(m.destination_ports, port)},
                   {"notDestinationPorts", list(m.not_destination_ports, port)}});
    });
}

Reader clause(policy::Clause& into) {
    return list(into, match);
}

Reader rule(policy::Rule& into) {
    return list(into, clause);
}

}

Reader policy(policy::Policy& p) {
    return section([&p](const Cursor& at) {
        using enum policy::Scope;
        using enum policy::Action;
        at.fields({{"name", text(p.name), required},
                   {"namespace", text(p.namespace_), required},
                   {"scope", choice(p.scope, {global, of_namespace, of_workloads}), required},
                   {"action", choice(p.action, {allow, deny}), required},
                   {"rules", list(p.rules, rule), required},
                   {"dryRun", flag(p.dry_run), required}});
    });
}

}
