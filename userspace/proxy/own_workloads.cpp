// SPDX-License-Identifier: Apache-2.0
#include "own_workloads.hpp"

namespace culvert::proxy {
namespace {

class Counted {
public:
    explicit Counted(std::uint32_t& count) : count_{count} { ++count_; }
    ~Counted() { --count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

private:
    std::uint32_t& count_;
};

}

void OwnWorkloads::publish(const state::Snapshot& mesh) {
    for (Waiter& each : waiters_)
        if (mesh.workload_by_uid(each.uid)) each.woken.set();
}

base::Task<> OwnWorkloads::wait(std::string uid) {
    if (waiting_ >= limits_.waiting_for_workload_per_worker) co_return;
    Counted counted{waiting_};
    Waiter waiter{loop_, uid};
    waiters_.push_back(waiter);
    base::Timer late{loop_, [&waiter] { waiter.woken.set(); }};
    late.arm(limits_.own_workload);
    co_await waiter.woken;
}

}
