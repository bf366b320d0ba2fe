// SPDX-License-Identifier: Apache-2.0
// Where a control plane tells of addresses on demand only: what it has said of them, and the connections that wait for
// that. Nobody is taken for a stranger, and spoken to in the clear, before it has said that it knows of nobody there.
//
// Lives on: one worker.
#pragma once
#include <deque>
#include <set>
#include <string>
#include <unordered_map>

#include <culvert/base/task.hpp>
#include <culvert/proxy/worker.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::proxy {

class OnDemand {
public:
    // All are borrowed. Without `ask` the mesh is whole, and nobody waits.
    OnDemand(base::Loop& loop, const AskMesh& ask, const Limits& limits) : loop_{loop}, ask_{ask}, limits_{limits} {}

    // Whether the mesh has nobody at the address, and that was not asked lately.
    bool must_wait(const state::Snapshot& mesh, const state::Workload& source, const base::IpAddress& target) const;
    // Until there was an answer; who is at the address is in the mesh then, or nobody is. What was answered earlier
    // counts where no answer comes. Fails after Limits::on_demand, or where too many wait already: nobody knows.
    base::Task<base::Result<>> wait(std::string network, base::IpAddress target);

private:
    struct Waiter : base::AutoListHook {
        Waiter(base::Loop& loop, const std::string& n) : woken{loop}, name{n} {}
        base::Event woken;
        const std::string& name;
        bool answered = false;
    };

    void ask(const std::string& name);
    void told(const std::string& name, bool answered);
    void remember(const std::string& name);

    base::Loop& loop_;
    const AskMesh& ask_;
    const Limits& limits_;
    std::set<std::string> asked_;                                               // without an answer yet
    std::unordered_map<std::string, base::Timer::Clock::time_point> answered_;  // when
    std::deque<std::string> oldest_first_;                                      // of those
    base::intrusive::list<Waiter, base::intrusive::constant_time_size<false>> waiters_;
    std::uint32_t waiting_ = 0;
};

}
