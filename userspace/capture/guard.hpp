// SPDX-License-Identifier: Apache-2.0
// The guard programs on a pod's interfaces. All of it runs in the pod's namespace: interface numbers mean nothing
// outside.
#pragma once
#include <map>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

#include "netlink.hpp"
#include "programs.hpp"

namespace culvert::capture {

enum class GuardHook {
    tcx,     // a pinned link: survives us, and nobody in the pod can take it off with `tc`
    clsact,  // kernels before 6.6: a filter, which `tc qdisc del` takes off; put back when it happens
};

// The guards of one pod. Owns: their links, beside the pins: removing a pin opens nothing while we live.
class Guards {
public:
    // Puts the guard on every interface where it is not, also where it has been taken off; swaps the programs of an
    // earlier daemon; forgets interfaces that are there and no longer in the list, and those that have ended. One that
    // was taken to another namespace keeps its guard. Says how many had been taken off.
    base::Result<unsigned> put(const Programs& pod, const std::string& pins, const std::vector<Interface>& guarded,
                               const std::vector<Interface>& there, GuardHook hook);
    // All links are where they were put. Any namespace. Filters cannot be looked at from outside: an event tells.
    bool whole() const;
    // Says how many pins were missing, and are there again.
    unsigned restore_pins(const std::string& pins) const;

private:
    struct Pair {
        base::Fd in, out;  // empty with clsact
    };
    std::map<int, Pair> links_;  // by interface
};

// Takes off every guard that was put on through these pins.
void remove_guards(const std::string& pins);

}
