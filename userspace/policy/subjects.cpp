// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <map>

#include "block.hpp"

namespace culvert::policy {
namespace {

void add(Subjects& into, const Subjects& more) {
    into.count += more.count;
    for (const auto& workload : more.first)
        if (into.first.size() < Subjects::few) into.first.push_back(workload);
}

}

std::unordered_map<const Named*, Subjects> Set::subjects(const state::Snapshot& mesh) const {
    // Many workloads are subject to the same: what that is, is looked at once.
    struct Alike {
        const Compiled* compiled = nullptr;
        Subjects workloads;
    };
    std::map<std::array<const Block*, 3>, Alike> groups;
    for (const auto& workload : mesh.workloads()) {
        const Compiled* compiled = of(workload->uid);
        if (!compiled) continue;
        const auto& blocks = compiled->blocks_;
        Alike& group = groups[{blocks[0].get(), blocks[1].get(), blocks[2].get()}];
        group.compiled = compiled;
        add(group.workloads, {1, {workload}});
    }
    std::unordered_map<const Named*, Subjects> all;
    for (const auto& [blocks, group] : groups) {
        std::vector<const Named*> policies;
        for (const auto& policy : group.compiled->policies()) policies.push_back(policy.get());
        std::sort(policies.begin(), policies.end());  // a workload may name one that is its namespace's as well
        policies.erase(std::unique(policies.begin(), policies.end()), policies.end());
        for (const Named* policy : policies) add(all[policy], group.workloads);
    }
    return all;
}

}
