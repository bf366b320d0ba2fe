// SPDX-License-Identifier: Apache-2.0
// Connections of pods that the mesh does not know yet: a pod may be handed over before a control plane has told of its
// workload. They wait for it, as ztunnel's do.
//
// Lives on: one worker.
#pragma once
#include <string>

#include <culvert/base/task.hpp>
#include <culvert/proxy/worker.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::proxy {

class OwnWorkloads {
public:
    // Both are borrowed.
    OwnWorkloads(base::Loop& loop, const Limits& limits) : loop_{loop}, limits_{limits} {}

    void publish(const state::Snapshot& mesh);
    // Until a mesh with it is published, or Limits::own_workload is over; not at all where too many wait already. Who
    // waited looks for himself what it came to.
    base::Task<> wait(std::string uid);

private:
    struct Waiter : base::AutoListHook {
        Waiter(base::Loop& loop, const std::string& u) : woken{loop}, uid{u} {}
        base::Event woken;
        const std::string& uid;
    };

    base::Loop& loop_;
    const Limits& limits_;
    base::intrusive::list<Waiter, base::intrusive::constant_time_size<false>> waiters_;
    std::uint32_t waiting_ = 0;
};

}
