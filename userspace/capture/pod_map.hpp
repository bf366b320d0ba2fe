// SPDX-License-Identifier: Apache-2.0
// A capture's pods by uid, and what is done to one of them alike however it is captured.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <culvert/base/log.hpp>
#include <culvert/base/result.hpp>
#include <culvert/state/exclusions.hpp>

namespace culvert::capture {

template <class Pod>
class PodMap {
public:
    auto begin() const noexcept { return pods_.begin(); }
    auto end() const noexcept { return pods_.end(); }
    std::size_t size() const noexcept { return pods_.size(); }
    Pod* find(const std::string& uid) const {
        auto found = pods_.find(uid);
        return found == pods_.end() ? nullptr : found->second.get();
    }
    void add(const std::string& uid, std::unique_ptr<Pod> pod) { pods_.emplace(uid, std::move(pod)); }

    base::Result<> exclude(const std::string& uid, const state::Exclusions& exclusions) {
        Pod* pod = find(uid);
        if (!pod) return base::problem(uid + " is not enrolled");
        return pod->exclude(exclusions);
    }
    base::Result<> stop_capturing(const std::string& uid) {
        Pod* pod = find(uid);
        return pod ? pod->stop_capturing() : base::Result<>{};
    }
    base::Result<> close(const std::string& uid) {
        Pod* pod = find(uid);
        return pod ? pod->close() : base::Result<>{};
    }
    base::Result<> release(const std::string& uid) {
        auto pod = pods_.extract(uid);
        if (!pod) return {};
        auto released = pod.mapped()->release();
        base::log::info("capture", "{} is released", pod.mapped()->name());
        return released;
    }
    void let_go(const std::string& uid) { pods_.erase(uid); }

private:
    std::map<std::string, std::unique_ptr<Pod>> pods_;
};

}
