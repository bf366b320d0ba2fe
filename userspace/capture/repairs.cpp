// SPDX-License-Identifier: Apache-2.0
#include "repairs.hpp"

#include <culvert/base/log.hpp>

namespace culvert::capture {

namespace {

struct Text {
    const char* name;
    const char* found;
};

constexpr std::array<Text, static_cast<std::size_t>(Part::count)> texts{{
    {"sockops", "cv_sockops was off the cgroup root"},
    {"alive", "cv_alive was off the cgroup root"},
    {"row", "the row in cv_pods was changed or gone"},
    {"policy", "the row in cv_policy was changed or gone"},
    {"lookup", "cv_lookup was off the netns"},
    {"guard", "a guard was off its interface"},
    {"listener", "a listener was gone"},
    {"rule", "a rule was gone"},
    {"route", "a route of table 100 was gone"},
    {"sysctl", "a sysctl was changed"},
    {"pin", "a pin was gone"},
    {"iptables", "rules of iptables were changed or gone"},
}};

}

void Repairs::add(Part part, const std::string& whose, unsigned times) {
    auto index = static_cast<std::size_t>(part);
    counts_[index] += times;
    base::log::warn("capture", "{}: {}; repaired", whose, texts[index].found);
}

std::vector<RepairCount> Repairs::counts() const {
    std::vector<RepairCount> all;
    for (std::size_t i = 0; i < counts_.size(); ++i) all.push_back({texts[i].name, counts_[i]});
    return all;
}

}
