// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/readiness.hpp>

#include <fmt/ranges.h>

namespace culvert::admin {

void Readiness::pending(std::string part) {
    std::lock_guard lock{lock_};
    pending_.insert(std::move(part));
}

void Readiness::done(const std::string& part) {
    std::lock_guard lock{lock_};
    pending_.erase(part);
}

bool Readiness::ready() const {
    std::lock_guard lock{lock_};
    return pending_.empty();
}

std::vector<std::string> Readiness::waits_for() const {
    std::lock_guard lock{lock_};
    return {pending_.begin(), pending_.end()};
}

std::string Readiness::text() const {
    std::lock_guard lock{lock_};
    if (pending_.empty()) return "ready\n";
    return fmt::format("not ready, pending: {}\n", fmt::join(pending_, ", "));
}

}
