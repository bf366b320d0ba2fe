// SPDX-License-Identifier: Apache-2.0
#include "strangers.hpp"

#include "headers.hpp"

namespace culvert::proxy {
namespace {

constexpr std::size_t longest = 1024;  // of a baggage that is kept

}

state::WorkloadPtr Strangers::find(const std::string& baggage, Clock::time_point now) {
    if (auto known = all_.find(baggage); known != all_.end()) return known->second.workload;
    if (baggage.size() > longest) return nullptr;
    auto told = workload_in(baggage);
    if (!told) return nullptr;
    if (all_.size() >= most) {
        std::erase_if(all_, [now](const auto& one) { return now - one.second.came >= kept; });
        if (all_.size() >= most) return nullptr;
    }
    auto workload = std::make_shared<const state::Workload>(std::move(*told));
    all_.emplace(baggage, Stranger{workload, now});
    return workload;
}

}
