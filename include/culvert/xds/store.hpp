// SPDX-License-Identifier: Apache-2.0
// The mesh as the control plane told it so far, and what the workers get of it. The control thread's.
//
// Workloads say behind which services they stand. One may come before its service, or outlive it: its endpoint is kept
// aside until the service comes (again).
#pragma once
#include <culvert/state/snapshot.hpp>
#include <culvert/xds/conversation.hpp>

namespace culvert::xds {

class Store {
public:
    using Endpoints = std::map<std::string, state::Endpoint>;  // by the workload's uid

    // What was heard. A service whose endpoints change is made anew once, however many of them do.
    void take(Kind kind, std::vector<Resource> changed, const std::vector<std::string>& removed);

    // Shares what the store holds.
    state::SnapshotPtr mesh() const;
    std::vector<policy::Policy> policies() const;

    std::size_t workloads() const noexcept { return workloads_.size(); }
    std::size_t services() const noexcept { return services_.size(); }
    // Endpoints of services that nobody has told of.
    const std::map<state::NamespacedHostname, Endpoints>& aside() const noexcept { return aside_; }

private:
    class Edit;  // of one response
    std::map<std::string, state::WorkloadPtr> workloads_;
    std::map<state::NamespacedHostname, state::ServicePtr> services_;
    std::map<std::string, policy::Policy> policies_;
    std::map<state::NamespacedHostname, Endpoints> aside_;
};

}
