// SPDX-License-Identifier: Apache-2.0
// The guard programs on a pod's interfaces. All of it runs in the pod's namespace: interface numbers mean nothing
// outside.
#pragma once
#include <string>

#include <culvert/base/result.hpp>

#include "netlink.hpp"
#include "programs.hpp"

namespace culvert::capture {

enum class GuardHook {
    tcx,     // a pinned link: survives us, and nobody in the pod can take it off with `tc`
    clsact,  // kernels before 6.6: a filter, which `tc qdisc del` takes off; put back, with a warning, when it happens
};

// Idempotent; swaps the programs of an earlier daemon.
base::Result<> guard_interface(const Programs& pod, const std::string& pins, const Interface&, GuardHook);
// Forgets interfaces that are gone.
void forget_interfaces(const std::string& pins, const std::vector<Interface>& left);
// Takes off every guard that was put on through these pins.
void remove_guards(const std::string& pins);

}
