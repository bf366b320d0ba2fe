// SPDX-License-Identifier: Apache-2.0
// A policy is understood whole or not at all: one entry less in a list may widen it, or make it match nobody (ztunnel
// leaves such entries out).
#include <fmt/format.h>

#include <limits>

#include "authorization.pb.h"
#include "decode.hpp"

namespace culvert::xds {

namespace security = istio::security;
using base::problem;
using base::Result;

namespace {

// Where in a policy we are: "rules[0].clauses[1].matches[0].source_ips[2]".
class Place {
public:
    explicit Place(std::string path) : path_{std::move(path)} {}
    Place at(const char* list, std::size_t index) const {
        return Place{fmt::format("{}{}{}[{}]", path_, path_.empty() ? "" : ".", list, index)};
    }
    base::Error is(std::string_view what) const { return problem(fmt::format("{} {}", path_, what)); }

private:
    std::string path_;
};

Result<policy::StringMatch> read(const security::StringMatch& from, const Place& place) {
    using enum policy::Form;
    switch (from.match_type_case()) {
        case security::StringMatch::kExact: return policy::StringMatch{exact, from.exact()};
        case security::StringMatch::kPrefix: return policy::StringMatch{prefix, from.prefix()};
        case security::StringMatch::kSuffix: return policy::StringMatch{suffix, from.suffix()};
        case security::StringMatch::kPresence: return policy::StringMatch{presence, {}};
        default: return place.is("says not how it matches");
    }
}

Result<policy::Account> read(const security::ServiceAccountMatch& from, const Place&) {
    return policy::Account{from.namespace_(), from.serviceaccount()};
}

Result<state::Cidr> read(const security::Address& from, const Place& place) {
    auto range = cidr_of(from.address(), from.length());
    if (!range)
        return place.is(
            fmt::format("is no address range: {} bytes, a length of {}", from.address().size(), from.length()));
    return *range;
}

Result<std::uint16_t> read(std::uint32_t from, const Place& place) {
    if (from > std::numeric_limits<std::uint16_t>::max()) return place.is(fmt::format("is {}, no port", from));
    return static_cast<std::uint16_t>(from);
}

Result<policy::Match> read(const security::Match& from, const Place& place);
Result<policy::Clause> read(const security::Clause& from, const Place& place);
Result<policy::Rule> read(const security::Rule& from, const Place& place);

template <class From, class T>
Result<> read_list(const From& from, std::vector<T>& into, const Place& place, const char* name) {
    into.reserve(static_cast<std::size_t>(from.size()));
    for (const auto& item : from) {
        auto value = read(item, place.at(name, into.size()));
        if (!value) return value.error();
        into.push_back(std::move(*value));
    }
    return {};
}

Result<policy::Match> read(const security::Match& from, const Place& place) {
    policy::Match into;
    Result<> done{};
    auto list = [&](const auto& values, auto& target, const char* name) {
        if (done) done = read_list(values, target, place, name);
    };
    list(from.namespaces(), into.namespaces, "namespaces");
    list(from.not_namespaces(), into.not_namespaces, "not_namespaces");
    list(from.principals(), into.principals, "principals");
    list(from.not_principals(), into.not_principals, "not_principals");
    list(from.source_ips(), into.source_ips, "source_ips");
    list(from.not_source_ips(), into.not_source_ips, "not_source_ips");
    list(from.destination_ips(), into.destination_ips, "destination_ips");
    list(from.not_destination_ips(), into.not_destination_ips, "not_destination_ips");
    list(from.destination_ports(), into.destination_ports, "destination_ports");
    list(from.not_destination_ports(), into.not_destination_ports, "not_destination_ports");
    list(from.service_accounts(), into.service_accounts, "service_accounts");
    list(from.not_service_accounts(), into.not_service_accounts, "not_service_accounts");
    if (!done) return done.error();
    return into;
}

Result<policy::Clause> read(const security::Clause& from, const Place& place) {
    policy::Clause into;
    if (auto done = read_list(from.matches(), into, place, "matches"); !done) return done.error();
    return into;
}

Result<policy::Rule> read(const security::Rule& from, const Place& place) {
    policy::Rule into;
    if (auto done = read_list(from.clauses(), into, place, "clauses"); !done) return done.error();
    return into;
}

Result<> read_kind(const security::Authorization& from, policy::Policy& into) {
    switch (from.scope()) {
        case security::GLOBAL: into.scope = policy::Scope::global; break;
        case security::NAMESPACE: into.scope = policy::Scope::of_namespace; break;
        case security::WORKLOAD_SELECTOR: into.scope = policy::Scope::of_workloads; break;
        default: return problem(fmt::format("scope is {}, which this version does not know", int{from.scope()}));
    }
    switch (from.action()) {
        case security::ALLOW: into.action = policy::Action::allow; break;
        case security::DENY: into.action = policy::Action::deny; break;
        default: return problem(fmt::format("action is {}, which this version does not know", int{from.action()}));
    }
    return {};
}

}

Result<Resource> decode_policy(std::string_view bytes) {
    security::Authorization from;
    if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return problem("its bytes are no istio.security.Authorization");
    policy::Policy into;
    into.name = from.name();
    into.namespace_ = from.namespace_();
    if (into.name.empty() || into.namespace_.empty()) return problem("it has no name or no namespace");
    if (auto done = read_kind(from, into); !done) return done.error();
    if (auto done = read_list(from.rules(), into.rules, Place{""}, "rules"); !done) return done.error();
    into.dry_run = from.dry_run();
    return Resource{std::move(into)};
}

}
