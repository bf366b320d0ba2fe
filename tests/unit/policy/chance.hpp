// SPDX-License-Identifier: Apache-2.0
// Policies and connections made by chance, so that those who judge can be compared.
#pragma once
#include <random>

#include <culvert/policy/policy.hpp>
#include <culvert/state/workload.hpp>

namespace culvert::policy::chance {

// Few values of each kind, so that things meet.
class Chance {
public:
    explicit Chance(std::uint32_t seed) : random_{seed} {}

    std::size_t below(std::size_t n) { return random_() % n; }
    bool one_in(std::size_t n) { return below(n) == 0; }
    template <class T>
    const T& of(const std::vector<T>& all) {
        return all[below(all.size())];
    }
    template <class Make>
    auto some(std::size_t at_most, Make make) {
        std::vector<decltype(make())> list(below(at_most + 1));
        for (auto& each : list) each = make();
        return list;
    }

    state::Identity identity() { return {of(domains_), of(namespaces_), of(accounts_)}; }
    base::IpAddress ip() { return *base::IpAddress::parse(of(ips_)); }
    std::uint16_t port() { return static_cast<std::uint16_t>(80 + below(4)); }
    const std::string& any_namespace() { return of(namespaces_); }

    Policy policy(std::size_t number) {
        Policy p;
        p.name = "p" + std::to_string(number);
        p.namespace_ = any_namespace();
        p.scope = static_cast<Scope>(below(3));
        p.action = static_cast<Action>(below(2));
        p.dry_run = one_in(5);
        p.rules = some(3, [&] { return some(2, [&] { return some(2, [&] { return match(); }); }); });
        return p;
    }

private:
    // As a rule a list is not there.
    template <class T, class Make>
    void maybe(std::vector<T>& list, Make make) {
        if (one_in(5)) list = some(3, make);
    }
    Match match() {
        Match m;
        auto of_namespace = [&] { return text(any_namespace()); };
        auto of_principal = [&] { return text(identity().to_string().substr(9)); };
        auto account = [&] { return Account{any_namespace(), of(accounts_)}; };
        auto cidr = [&] { return *state::Cidr::parse(of(ranges_)); };
        auto number = [&] { return port(); };
        maybe(m.namespaces, of_namespace);
        maybe(m.not_namespaces, of_namespace);
        maybe(m.principals, of_principal);
        maybe(m.not_principals, of_principal);
        maybe(m.service_accounts, account);
        maybe(m.not_service_accounts, account);
        maybe(m.source_ips, cidr);
        maybe(m.not_source_ips, cidr);
        maybe(m.destination_ips, cidr);
        maybe(m.not_destination_ips, cidr);
        maybe(m.destination_ports, number);
        maybe(m.not_destination_ports, number);
        return m;
    }
    StringMatch text(const std::string& whole) {
        const std::size_t part = below(whole.size() + 1);
        switch (below(6)) {
            case 0: return {Form::prefix, whole.substr(0, part)};
            case 1: return {Form::suffix, whole.substr(part)};
            case 2: return {Form::presence, ""};
            default: return {Form::exact, whole};
        }
    }

    std::mt19937 random_;
    std::vector<std::string> domains_{"cluster.local", "other"};
    std::vector<std::string> namespaces_{"shop", "web", "webs", ""};
    std::vector<std::string> accounts_{"cart", "art", "cart/sa/x"};
    std::vector<std::string> ips_{"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1", "fd00::1", "fd00::2", "::1"};
    std::vector<std::string> ranges_{"10.0.0.0/24", "10.0.0.1",  "10.0.0.0/8",  "10.0.0.3/31",      "0.0.0.0/0",
                                     "::/0",        "fd00::/64", "fd00::2/127", "::ffff:a00:0/104", "192.168.0.1/32"};
};

inline std::vector<Policy> policies(Chance& chance) {
    std::vector<Policy> all;
    const std::size_t count = chance.below(8);
    for (std::size_t i = 0; i < count; ++i) all.push_back(chance.policy(i));
    return all;
}

inline state::Workload workload(Chance& chance, const std::vector<Policy>& policies) {
    state::Workload w;
    w.uid = "w";
    w.namespace_ = chance.any_namespace();
    for (const Policy& p : policies)
        if (p.scope == Scope::of_workloads && chance.one_in(2)) w.authorization_policies.push_back(p.key());
    if (chance.one_in(10)) w.authorization_policies.push_back("web/nobody_has_it");
    if (chance.one_in(10)) w.authorization_policies.push_back("web/converted_peer_authentication_x");
    return w;
}

}
