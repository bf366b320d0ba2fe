// SPDX-License-Identifier: Apache-2.0
#include <culvert/policy/policy.hpp>

#include <culvert/policy/hits.hpp>

namespace culvert::policy {

std::string_view to_string(Scope scope) noexcept {
    switch (scope) {
        case Scope::global: return "Global";
        case Scope::of_namespace: return "Namespace";
        case Scope::of_workloads: return "WorkloadSelector";
    }
    return "unknown";
}

std::string_view to_string(Action action) noexcept {
    return action == Action::allow ? "Allow" : "Deny";
}

std::string_view to_string(Unknown unknown) noexcept {
    return unknown == Unknown::allow ? "allow" : "deny";
}

bool StringMatch::matches(std::string_view value) const noexcept {
    switch (form) {
        case Form::exact: return value == text;
        case Form::prefix: return value.starts_with(text);
        case Form::suffix: return value.ends_with(text);
        case Form::presence: return !value.empty();
    }
    return false;
}

std::shared_ptr<Hits> Ledger::of(const std::string& policy) {
    std::lock_guard lock{lock_};
    std::weak_ptr<Hits>& known = hits_[policy];
    auto hits = known.lock();
    if (!hits) known = hits = std::make_shared<Hits>(workers_);
    return hits;
}

std::map<std::string, std::uint64_t> Ledger::counts() {
    std::lock_guard lock{lock_};
    std::map<std::string, std::uint64_t> counts;
    std::erase_if(hits_, [&](const auto& entry) {
        auto hits = entry.second.lock();
        if (hits) counts.emplace(entry.first, hits->sum());
        return !hits;
    });
    return counts;
}

}
