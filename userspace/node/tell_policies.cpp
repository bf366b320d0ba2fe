// SPDX-License-Identifier: Apache-2.0
#include "tell_policies.hpp"

#include <set>
#include <string>

#include <boost/json.hpp>

namespace culvert::node {
namespace {

namespace json = boost::json;

json::value applies_to(const policy::Subjects& subjects) {
    json::array first;
    for (const auto& workload : subjects.first) first.emplace_back(workload->namespace_ + "/" + workload->name);
    return {{"count", subjects.count}, {"first", std::move(first)}};
}

// A policy that nobody has, and that is not put in its place: as if it were not named.
json::array ignored(const state::Snapshot& mesh, const policy::Set& policies) {
    std::set<std::string> names;
    for (const auto& workload : mesh.workloads())
        names.insert(workload->authorization_policies.begin(), workload->authorization_policies.end());
    for (const auto& named : policies.policies()) names.erase(named->key);
    json::array all;
    for (const auto& name : names) all.emplace_back(name);
    return all;
}

}

json::value tell_policies(const Reloads& reloads, const Mesh& known) {
    const state::Snapshot& mesh = *known.snapshot();
    const policy::Set& policies = *known.policies();
    const auto subjects = policies.subjects(mesh);
    json::array all;
    for (const auto& named : policies.policies()) {
        const policy::Policy& p = named->policy;
        const auto found = subjects.find(named.get());
        all.push_back({
            {"name", p.name},
            {"namespace", p.namespace_},
            {"scope", std::string{to_string(p.scope)}},
            {"action", std::string{to_string(p.action)}},
            {"dry_run", p.dry_run},
            {"unknown", named->stand_in && !named->is_awaited},
            {"awaited", named->is_awaited},
            {"rules", p.rules.size()},
            {"applies_to", applies_to(found == subjects.end() ? policy::Subjects{} : found->second)},
            {"hits", named->hits->sum()},
        });
    }
    return {{"policies", std::move(all)},
            {"ignored", ignored(mesh, policies)},
            {"unknown_policy", std::string{to_string(known.unknown())}},
            // A file with a policy that cannot be read is refused whole: what is above is the last good one's.
            {"refused", reloads.error}};
}

}
