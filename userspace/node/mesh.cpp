// SPDX-License-Identifier: Apache-2.0
#include "mesh.hpp"

#include <utility>

namespace culvert::node {

Mesh::Mesh(boost::asio::io_context& io, policy::Ledger& hits, Tell tell)
    : hits_{hits},
      tell_{std::move(tell)},
      later_{io},
      mesh_{state::Snapshot::sharing({}, {})},
      set_{std::make_shared<const policy::Set>(*mesh_, policies_, hits_, unknown_, policy::Names{})},
      next_sweep_{io} {}

void Mesh::publish(state::SnapshotPtr mesh, std::vector<policy::Policy> policies, policy::Unknown unknown) {
    retire(std::exchange(mesh_, std::move(mesh)));
    policies_ = std::move(policies);
    unknown_ = unknown;
    judge();
}

void Mesh::judge() {
    const auto now = policy::Awaited::Clock::now();
    const auto awaited = awaited_.after(*mesh_, policies_, now);
    retire(std::exchange(set_, std::make_shared<const policy::Set>(*mesh_, policies_, hits_, unknown_, awaited)));
    tell_(mesh_, set_);
    later_.cancel();
    if (auto next = awaited_.next(now)) {
        later_.expires_at(*next);
        later_.async_wait([this](boost::system::error_code cancelled) {
            if (!cancelled) judge();
        });
    }
}

void Mesh::retire(std::shared_ptr<const void> old) {
    retired_.push_back(std::move(old));
    if (retired_.size() == 1) sweep();
}

void Mesh::sweep() {
    next_sweep_.expires_after(std::chrono::seconds{1});
    next_sweep_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        std::erase_if(retired_, [](const auto& old) { return old.use_count() == 1; });
        if (!retired_.empty()) sweep();
    });
}

}
