// SPDX-License-Identifier: Apache-2.0
// So many policies that are about one workload, none of which a certain connection meets.
#pragma once
#include <string>
#include <vector>

#include <culvert/policy/set.hpp>

namespace culvert::load {

// Of ten rules each, by all that rules go by: who calls, by whole names, starts and ends, from where, to which port.
// Every value is another, as of many owners.
inline std::vector<policy::Policy> many_policies(int count) {
    using namespace policy;
    std::vector<Policy> all;
    for (int i = 0; i < count; ++i) {
        Policy p{.name = "p" + std::to_string(i), .namespace_ = "ns", .scope = Scope::of_namespace};
        const std::string team = "team" + std::to_string(i);
        for (int rule = 0; rule < 10; ++rule) {
            const std::string account = "a" + std::to_string(rule);
            Match match;
            switch (rule % 5) {
                case 0: match.principals = {{Form::exact, "cluster.local/ns/" + team + "/sa/" + account}}; break;
                case 1: match.principals = {{Form::prefix, "cluster.local/ns/" + team + "/"}}; break;
                case 2: match.namespaces = {{Form::exact, team}, {Form::suffix, "-of-" + team}}; break;
                case 3: match.service_accounts = {{team, account}}; break;
                default:
                    match.source_ips = {*state::Cidr::parse("10." + std::to_string(i % 250) + "." +
                                                            std::to_string(i / 250 % 250) + ".0/24")};
            }
            match.destination_ports = {80};
            p.rules.push_back({{match}});
        }
        all.push_back(std::move(p));
    }
    return all;
}

// Workload w, whom they are about, and a connection to it.
inline state::Snapshot mesh_of_one() {
    state::Workload own;
    own.uid = "w";
    own.namespace_ = "ns";
    return state::Snapshot{{own}, {}};
}
inline const state::Identity shopper{"cluster.local", "shop", "cart"};
inline const policy::Connection from_shopper{*base::IpAddress::parse("192.168.1.1"),
                                             *base::SocketAddress::parse("10.0.0.1:80"), &shopper};

}
