// SPDX-License-Identifier: Apache-2.0
#include "own_workloads.hpp"

#include <culvert/base/counted.hpp>

namespace culvert::proxy {

void OwnWorkloads::publish(const state::Snapshot& mesh) {
    for (Waiter& each : waiters_)
        if (mesh.workload_by_uid(each.uid)) each.woken.set();
}

base::Task<> OwnWorkloads::wait(std::string uid) {
    if (waiting_ >= limits_.waiting_for_workload_per_worker) co_return;
    base::Counted counted{waiting_};
    Waiter waiter{loop_, uid};
    waiters_.push_back(waiter);
    base::Timer late{loop_, [&waiter] { waiter.woken.set(); }};
    late.arm(limits_.own_workload);
    co_await waiter.woken;
}

}
