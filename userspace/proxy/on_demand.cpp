// SPDX-License-Identifier: Apache-2.0
#include "on_demand.hpp"

#include <culvert/base/counted.hpp>
#include <culvert/base/over_limit.hpp>
#include <culvert/state/route.hpp>

namespace culvert::proxy {
namespace {

using Clock = base::Timer::Clock;

// As istiod takes it.
std::string name_of(const std::string& network, const base::IpAddress& ip) {
    return network + "/" + ip.to_string();
}

}

bool OnDemand::must_wait(const state::Snapshot& mesh, const state::Workload& source,
                         const base::IpAddress& target) const {
    if (!ask_ || target.is_loopback() || state::is_told_of(mesh, source, target)) return false;
    auto answered = answered_.find(name_of(source.network, target));
    return answered == answered_.end() || Clock::now() - answered->second > limits_.on_demand_kept;
}

void OnDemand::ask(const std::string& name) {
    if (!asked_.insert(name).second) return;
    ask_(name, [this, name](bool answered) { loop_.post([this, name, answered] { told(name, answered); }); });
}

void OnDemand::told(const std::string& name, bool answered) {
    asked_.erase(name);
    if (answered) remember(name);
    for (Waiter& each : waiters_) {
        if (each.name != name) continue;
        each.answered = answered;
        each.woken.set();
    }
}

void OnDemand::remember(const std::string& name) {
    if (!answered_.insert_or_assign(name, Clock::now()).second) return;
    oldest_first_.push_back(name);
    if (oldest_first_.size() <= limits_.addresses_on_demand_per_worker) return;
    answered_.erase(oldest_first_.front());
    oldest_first_.pop_front();
}

base::Task<base::Result<>> OnDemand::wait(std::string network, base::IpAddress target) {
    const std::string name = name_of(network, target);
    const bool was_answered = answered_.contains(name);
    if (waiting_ >= limits_.waiting_on_demand_per_worker) {
        if (was_answered) co_return base::Result<>{};
        co_return base::over_limit("connections that wait for what istiod knows of an address");
    }
    base::Counted counted{waiting_};
    Waiter waiter{loop_, name};
    waiters_.push_back(waiter);
    ask(name);
    base::Timer late{loop_, [&waiter] { waiter.woken.set(); }};
    late.arm(was_answered ? limits_.on_demand_again : limits_.on_demand);
    co_await waiter.woken;
    if (waiter.answered || was_answered) co_return base::Result<>{};
    co_return base::problem("istiod has not said who is at " + name);
}

}
