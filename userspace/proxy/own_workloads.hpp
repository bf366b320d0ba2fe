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
    // All are borrowed.
    OwnWorkloads(base::Loop& loop, const Limits& limits, const std::string& unknown_pod)
        : loop_{loop}, limits_{limits}, unknown_pod_{unknown_pod} {}

    void publish(const state::Snapshot& mesh);
    // Until a mesh with it is published, or Limits::own_workload is over; not at all where too many wait already. Who
    // waited looks for himself what it came to.
    base::Task<> wait(std::string uid);
    // What the access log says where it did not come.
    std::string why_none(const std::string& uid) const {
        return "failed to fetch information about local workload: " + uid + unknown_pod_;
    }

private:
    struct Waiter : base::AutoListHook {
        Waiter(base::Loop& loop, const std::string& u) : woken{loop}, uid{u} {}
        base::Event woken;
        const std::string& uid;
    };

    base::Loop& loop_;
    const Limits& limits_;
    const std::string& unknown_pod_;
    base::intrusive::list<Waiter, base::intrusive::constant_time_size<false>> waiters_;
    std::uint32_t waiting_ = 0;
};

}
