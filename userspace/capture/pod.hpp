// SPDX-License-Identifier: Apache-2.0
// One pod in the mesh: everything that was put into its network namespace, and its row in cv_pods.
//
// Lives on: the control thread. Letting the object go leaves the pod captured (a restart takes it over); release()
// takes everything out.
#pragma once
#include <boost/asio/steady_timer.hpp>

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
#include "policy_row.hpp"
#include "programs.hpp"
#include "repairs.hpp"
#include "routing.hpp"
#include "sysctls.hpp"

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
    Repairs& repairs;
};

class Pod {
public:
    static base::Result<std::unique_ptr<Pod>> enrol(const NodeSide&, const PodSpec&, const std::vector<Listener>&);
    Pod(const Pod&) = delete;
    Pod& operator=(const Pod&) = delete;

    // Others than it was enrolled with, and maybe brought to by others.
    base::Result<> refill(const std::vector<Listener>&);
    // What is not written at once, check() writes.
    base::Result<> exclude(const state::Exclusions&);
    // As refused before it reaches the proxy. What fails is left to the proxy, and check() tries again.
    base::Result<> judge(const policy::Plaintext&);
    // Of Istio's CNI, which judge what comes to the pod, and bring home the answers to our legs.
    bool by_rules() const noexcept { return row_.by_rules != 0; }
    bool refuses() const noexcept { return policy_ && !policy_->empty(); }
    base::Result<> stop_capturing();
    // After it, for a pod that is wanted again: its new connections are refused until it is enrolled anew.
    base::Result<> close();
    base::Result<> release();

    enum class Health {
        fine,            // or repaired
        listeners_lost,  // capture has none to put in their place, or needs ones of another kind
        taken_over,      // another daemon speaks for it
    };
    // Looks at what events do not tell of, and repairs it. Without a visit to the netns while all is well.
    Health check();
    // Once after enrolment: takes marks off listeners that were there before. False when there was nothing to do.
    bool take_marks_off();
    // Of a successor that has failed, or of a daemon that spoke out of turn.
    base::Result<> take_back();

    std::uint64_t cookie() const noexcept { return cookie_; }
    const std::string& name() const noexcept { return name_; }

private:
    Pod(const NodeSide& node, const PodSpec& spec)
        : node_{node},
          uid_{spec.uid},
          name_{spec.name},
          virtual_interfaces_{spec.virtual_interfaces},
          may_follow_{node.io} {}

    base::Result<> enter(const PodSpec&, const std::vector<Listener>&);
    base::Result<> install(const std::vector<Listener>&);
    void end_connecting();
    base::Result<> fill_slots(const std::vector<Listener>&);
    base::Result<> attach();
    base::Result<> say(cv_pod_state);
    base::Result<> write_row() const;
    void say_what_rules_decide() const;
    std::string pins() const { return node_.pins.pod(cookie_); }

    // pod_network.cpp
    // Addresses, guards, rules and routes as the namespace wants them now. What was right before and is not any more,
    // although nothing around it has changed, is a repair.
    base::Result<> follow();
    base::Result<RoutingChanges> route();
    Sysctls::Values wanted_sysctls() const;
    base::Result<> change_dns(const cv_pod& before, bool wanted);
    std::vector<Interface> guarded(const std::vector<Interface>&) const;
    void note_virtual(const std::vector<Interface>&);
    void say_too_many_addresses();
    void on_change();

    // pod_health.cpp
    void repair_row(const std::optional<cv_pod>& found);
    void repair_policy();
    void repair_links();
    void repair_sysctls();
    void repair_pins();
    bool slots_filled() const;
    bool rules_are_there() const;

    NodeSide node_;
    std::string uid_;
    std::string name_;
    std::vector<std::string> virtual_interfaces_;
    base::Fd netns_;
    std::uint64_t cookie_ = 0;
    bool taken_over_ = false;  // by us, from an earlier daemon
    bool installed_ = false;
    bool look_for_marks_ = true;  // once
    cv_pod row_{};
    std::optional<PolicyRow> policy_;  // once the cookie is known
    std::vector<std::uint32_t> slots_;
    Surroundings around_;
    std::size_t addresses_ = 0;  // as many as it had when that was last looked at
    std::optional<Sysctls> sysctls_;
    std::unique_ptr<Rtnetlink> netlink_;
    std::unique_ptr<Programs> programs_;
    base::Fd lookup_;  // beside its pin: removing that opens nothing while we live
    Guards guards_;
    boost::asio::steady_timer may_follow_;
    // One that has rung calls even when it is cancelled, and the pod may have gone by then.
    std::shared_ptr<const bool> here_ = std::make_shared<const bool>(true);
    bool follow_waits_ = false;
    bool follow_due_ = false;
    bool closed_ = false;
    unsigned checks_ = 0;
    std::unique_ptr<ChangeWatch> changes_;  // last: calls back into all of the above
};

std::optional<cv_pod> find_row(int pods_map, std::uint64_t cookie);
void delete_row(int pods_map, std::uint64_t cookie);

}
