// SPDX-License-Identifier: Apache-2.0
// One pod captured by rules, and its record.
//
// Lives on: the control thread. Letting the object go leaves the pod captured, and closed once its listeners are.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/capture/capture.hpp>

#include "events.hpp"
#include "host_probes.hpp"
#include "netlink.hpp"
#include "repairs.hpp"
#include "rules_mark.hpp"
#include "records.hpp"
#include "redirect.hpp"
#include "rules.hpp"
#include "routing.hpp"
#include "tables.hpp"

namespace culvert::capture {

// What every pod borrows from the node.
struct RulesSide {
    boost::asio::io_context& io;
    const Tables& tables;
    Records& records;
    NetnsName node;
    int node_netns;
    Repairs& repairs;
};

class RuledPod {
public:
    static base::Result<std::unique_ptr<RuledPod>> enrol(const RulesSide& node, const PodSpec& spec);
    RuledPod(const RuledPod&) = delete;
    RuledPod& operator=(const RuledPod&) = delete;

    base::Result<> exclude(const state::Exclusions&);
    base::Result<> stop_capturing();
    base::Result<> close() { return install(); }  // the rules are back, and lead to ports that nobody has
    base::Result<> release();
    // Puts back what somebody took away. Costs nothing to speak of while nobody changes any rules in the pod.
    void check();

    const NetnsName& netns() const noexcept { return record_.netns; }
    const std::string& name() const noexcept { return record_.name; }

private:
    RuledPod(const RulesSide& node, const PodSpec& spec);

    base::Result<> enter(int netns);
    // That what is there is ours, or nothing is.
    base::Result<> claim_netns();
    base::Result<> install();
    // The node's probes' set holds the addresses that the pod has now.
    base::Result<> follow_addresses();
    base::Result<> put_rules();
    void say(const base::Result<Mended>& done);
    void on_change();
    void end_connecting();

    RulesSide node_;
    RulesOfPod rules_;
    Record record_;
    base::Fd netns_;
    bool taken_over_ = false;
    std::string earlier_tables_;
    bool capturing_ = false;  // all of the rules are wanted
    std::optional<RulesMark> mark_;
    std::string known_;                // the mark of rules that were looked at
    std::string failed_;               // what was last said of a repair
    std::vector<std::string> in_set_;  // addresses that this daemon has told the node of
    std::unique_ptr<Rtnetlink> netlink_;
    std::unique_ptr<ChangeWatch> changes_;  // last: calls back into all of the above
};

// Takes out what a record says was put in, of whichever daemon; the record goes with it. `netns` is empty where it is
// gone.
base::Result<> undo(Records& records, const Record& record, base::Fd netns);

}
