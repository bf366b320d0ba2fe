// SPDX-License-Identifier: Apache-2.0
#include <culvert/policy/awaited.hpp>

namespace culvert::policy {

Names Awaited::after(const state::Snapshot& mesh, const std::vector<Policy>& policies, Clock::time_point now) {
    Names missing;
    for (const auto& workload : mesh.workloads())
        missing.insert(workload->authorization_policies.begin(), workload->authorization_policies.end());
    if (!missing.empty())
        for (const Policy& policy : policies) missing.erase(policy.key());
    std::erase_if(until_, [&](const auto& entry) { return !missing.contains(entry.first); });
    for (const std::string& name : missing) until_.try_emplace(name, now + longest_wait);
    std::erase_if(missing, [&](const std::string& name) { return until_.at(name) <= now; });
    return missing;
}

std::optional<Awaited::Clock::time_point> Awaited::next(Clock::time_point now) const {
    std::optional<Clock::time_point> first;
    for (const auto& [name, until] : until_)
        if (until > now && (!first || until < *first)) first = until;
    return first;
}

}
