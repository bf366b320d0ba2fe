// SPDX-License-Identifier: Apache-2.0
// One pod in the mesh: everything that was put into its network namespace, and its row in cv_pods.
//
// Lives on: the control thread. Letting the object go leaves the pod captured (a restart takes it over); release()
// takes everything out.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/bpf/pod.h>
#include <culvert/capture/capture.hpp>

#include "events.hpp"
#include "guard.hpp"
#include "pins.hpp"
#include "programs.hpp"
#include "routing.hpp"

namespace culvert::capture {

// What every pod borrows from the node.
struct NodeSide {
    boost::asio::io_context& io;
    const Pins& pins;
    const Programs& programs;
    std::uint64_t netns;   // cookie of its own
    std::uint64_t daemon;  // what this daemon calls itself in cv_pods
    unsigned workers;
    GuardHook guard_hook;
};

class Pod {
public:
    static base::Result<std::unique_ptr<Pod>> enrol(const NodeSide&, const PodSpec&, const std::vector<Listener>&);
    Pod(const Pod&) = delete;
    Pod& operator=(const Pod&) = delete;

    base::Result<> fill_slots(const std::vector<Listener>&);
    base::Result<> stop_capturing();
    base::Result<> release();

    std::uint64_t cookie() const noexcept { return cookie_; }
    const std::string& name() const noexcept { return name_; }

private:
    Pod(const NodeSide& node, const PodSpec& spec) : node_{node}, uid_{spec.uid}, name_{spec.name} {}

    base::Result<> enter(int netns);
    base::Result<> install(const std::vector<Listener>&);
    base::Result<> attach();
    base::Result<> say(cv_pod_state);
    // Rules, routes, addresses and guards as the namespace's interfaces want them now.
    base::Result<> follow_interfaces();
    void on_change();
    void end_connecting();
    std::string pins() const { return node_.pins.pod(cookie_); }

    NodeSide node_;
    std::string uid_;
    std::string name_;
    base::Fd netns_;
    std::uint64_t cookie_ = 0;
    bool ipv6_ = false;
    bool taken_over_ = false;
    cv_pod row_{};
    std::unique_ptr<Rtnetlink> netlink_;
    std::unique_ptr<Programs> programs_;
    std::unique_ptr<ChangeWatch> changes_;  // last: calls back into all of the above
};

std::optional<cv_pod> find_row(int pods_map, std::uint64_t cookie);
void delete_row(int pods_map, std::uint64_t cookie);

// Takes out of a pod what its pins, or an earlier daemon, put in; `netns` is empty where it is gone. Rules and routes
// go last. With no row, the sysctls stay as they are.
base::Result<> undo(const std::string& pod_pins, const std::optional<cv_pod>& row, base::Fd netns);
// By its inode, among the namespaces that have a name or a process; empty where it is gone, or held by descriptors
// only.
base::Fd find_netns_of(const std::string& pod_pins, const std::optional<cv_pod>& row);

}
