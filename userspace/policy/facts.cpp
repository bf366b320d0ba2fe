// SPDX-License-Identifier: Apache-2.0
#include "facts.hpp"

#include <algorithm>

namespace culvert::policy {

Facts::Facts(const Connection& connection) noexcept
    : source{connection.source}, destination{connection.destination}, has_peer{connection.peer != nullptr} {
    if (!has_peer) return;
    const state::Identity& peer = *connection.peer;
    const std::string_view parts[] = {peer.trust_domain, "/ns/", peer.namespace_, "/sa/", peer.service_account};
    std::size_t starts[std::size(parts)];
    std::size_t length = 0;
    for (std::size_t i = 0; i < std::size(parts); ++i) {
        starts[i] = length;
        if (parts[i].size() > text_.size() - length) {
            unreadable = true;
            return;
        }
        std::ranges::copy(parts[i], text_.begin() + static_cast<std::ptrdiff_t>(length));
        length += parts[i].size();
    }
    principal = {text_.data(), length};
    account = principal.substr(starts[2]);
    namespace_ = peer.namespace_;
    service_account = peer.service_account;
}

namespace {

bool says_nothing(const Match& m) noexcept {
    return m.namespaces.empty() && m.not_namespaces.empty() && m.principals.empty() && m.not_principals.empty() &&
           m.service_accounts.empty() && m.not_service_accounts.empty() && m.source_ips.empty() &&
           m.not_source_ips.empty() && m.destination_ips.empty() && m.not_destination_ips.empty() &&
           m.destination_ports.empty() && m.not_destination_ports.empty();
}

bool matches(const Match& m, const Facts& f) noexcept {
    if (says_nothing(m)) return false;
    auto from = [&](const state::Cidr& range) { return range.contains(f.source); };
    auto to = [&](const state::Cidr& range) { return range.contains(f.destination.ip); };
    auto port = [&](std::uint16_t wanted) { return wanted == f.destination.port; };
    auto in_namespace = [&](const StringMatch& text) { return text.matches(f.namespace_); };
    auto principal = [&](const StringMatch& text) { return f.has_peer && text.matches(f.principal); };
    auto account = [&](const Account& a) {
        return f.has_peer && a.namespace_ == f.namespace_ && a.service_account == f.service_account;
    };
    return fits(m.source_ips, m.not_source_ips, from) && fits(m.destination_ips, m.not_destination_ips, to) &&
           fits(m.destination_ports, m.not_destination_ports, port) &&
           fits(m.namespaces, m.not_namespaces, in_namespace) && fits(m.principals, m.not_principals, principal) &&
           fits(m.service_accounts, m.not_service_accounts, account);
}

}

bool matches(const Rule& rule, const Facts& facts) noexcept {
    return std::ranges::all_of(rule, [&](const Clause& clause) {
        return clause.empty() || std::ranges::any_of(clause, [&](const Match& match) { return matches(match, facts); });
    });
}

}
