// SPDX-License-Identifier: Apache-2.0
// Rules, route and ip rule of one pod: in and out. All of it in the network namespace that the calling thread is in.
#pragma once
#include <string>

#include <culvert/base/result.hpp>

#include "rules.hpp"
#include "tables.hpp"

namespace culvert::capture {

// What was missing, or not as it should be, and is now.
struct Mended {
    bool rule = false;
    bool route = false;
    bool tables = false;
    bool any() const noexcept { return rule || route || tables; }
};

// The ip rule and the route of it: without a process.
base::Result<Mended> put_routing();
// All of it. Leaves equal rules alone. Where ours are hooked as they should be, a table's new rules replace the old
// ones in one step; else they are replaced while nothing can pass.
base::Result<Mended> put_redirect(const Tables&, const RulesOfPod&);
// Whether somebody's chains of these names are here, in the rules of any kind of iptables.
base::Result<bool> finds_chains(const std::string& lock);

// New connections go past the proxy; those that live are in conntrack and go on.
base::Result<> stop_redirect(const Tables&);
base::Result<> remove_chains(const Tables&);
// Chains first, then rule and route, which connections need to their end.
base::Result<> remove_redirect(const Tables&);

}
