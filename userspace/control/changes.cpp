// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/changes.hpp>

#include <map>
#include <tuple>

namespace culvert::control {
namespace {

auto values(const base::KeepAlive& k) {
    return std::tuple{k.idle_s, k.interval_s, k.retries, k.user_timeout_ms};
}

bool differ_in_exclusions_only(const Pod& a, Pod b) {
    if (a.exclude == b.exclude) return false;
    b.exclude = a.exclude;
    return a == b;
}

using ByUid = std::map<std::string_view, const Pod*>;

ByUid by_uid(const std::vector<Pod>& pods) {
    ByUid known;
    for (const Pod& pod : pods) known.emplace(pod.uid, &pod);
    return known;
}

// Those of `pods` that are not in `others` as they are, but for what they exclude.
std::vector<Pod> without(const std::vector<Pod>& pods, const ByUid& others) {
    std::vector<Pod> rest;
    for (const Pod& pod : pods)
        if (auto same = others.find(pod.uid);
            same == others.end() || (*same->second != pod && !differ_in_exclusions_only(*same->second, pod)))
            rest.push_back(pod);
    return rest;
}

std::vector<Pod> excluding_anew(const ByUid& old, const std::vector<Pod>& fresh) {
    std::vector<Pod> found;
    for (const Pod& pod : fresh)
        if (auto same = old.find(pod.uid); same != old.end() && differ_in_exclusions_only(*same->second, pod))
            found.push_back(pod);
    return found;
}

}

Changes diff(const Config& old, const Config& fresh) {
    Changes changes;
    const ByUid before = by_uid(old.pods);
    changes.left = without(old.pods, by_uid(fresh.pods));
    changes.joined = without(fresh.pods, before);
    changes.excluding = excluding_anew(before, fresh.pods);
    changes.mesh = old.workloads != fresh.workloads || old.services != fresh.services ||
                   old.policies != fresh.policies || old.unknown_policy != fresh.unknown_policy;
    changes.log_level = old.log.level != fresh.log.level;

    const std::pair<bool, const char*> settings[] = {
        {old.node != fresh.node, "node"},
        {old.capture != fresh.capture, "capture"},
        {old.ca != fresh.ca, "ca"},
        {old.log.format != fresh.log.format, "log.format"},
        {old.log.access != fresh.log.access, "log.access"},
        {old.workers != fresh.workers, "workers"},
        {old.shutdown_deadline != fresh.shutdown_deadline, "shutdown"},
        {old.doors != fresh.doors, "doors"},
        {old.dns != fresh.dns, "dns"},
        {old.limits != fresh.limits, "limits"},
        {values(old.keepalive) != values(fresh.keepalive), "keepalive"},
    };
    for (const auto& [changed, key] : settings)
        if (changed) changes.need_restart.emplace_back(key);
    return changes;
}

}
