// SPDX-License-Identifier: Apache-2.0
#include "ruled_pod.hpp"

#include <fcntl.h>

#include <algorithm>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

#include "routing.hpp"
#include "sock_diag.hpp"
#include "undo.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// An address may be another pod's by now, or all the time.
std::vector<std::string> but_for_others(const Records& records, const Record& record,
                                        std::vector<std::string> addresses) {
    for (const Record& other : records.all()) {
        if (other.netns == record.netns || other.node != record.node) continue;
        std::erase_if(addresses, [&](const std::string& address) {
            return std::ranges::find(other.addresses, address) != other.addresses.end();
        });
    }
    return addresses;
}

}

RuledPod::RuledPod(const RulesSide& node, const PodSpec& spec)
    : node_{node}, rules_{spec.virtual_interfaces, spec.exclusions, spec.dns} {
    record_.node = node.node;
    record_.uid = spec.uid;
    record_.name = spec.name;
    record_.tables = node.tables.kind();
}

Result<std::unique_ptr<RuledPod>> RuledPod::enrol(const RulesSide& node, const PodSpec& spec) {
    std::unique_ptr<RuledPod> pod{new RuledPod{node, spec}};
    if (auto done = pod->enter(spec.netns); !done) return done.error();
    if (auto done = pod->claim_netns(); !done) return done.error();
    if (auto done = pod->install(); !done) {
        // What was captured before stays closed; what was not must not keep half of it.
        if (!pod->taken_over_) (void)pod->release();
        return done.error();
    }
    if (!pod->taken_over_) pod->end_connecting();
    return pod;
}

Result<> RuledPod::enter(int netns) {
    netns_ = Fd{::fcntl(netns, F_DUPFD_CLOEXEC, 3)};
    if (!netns_) return base::errno_while("keep the netns of " + record_.name);
    auto name = name_of(netns_.get());
    if (!name) return name.error();
    record_.netns = *name;
    if (record_.netns == node_.node)
        return base::problem(record_.name + " lives in the node's own network namespace and cannot be captured");
    return base::in_netns(netns_.get(), [this]() -> Result<> {
        auto netlink = Rtnetlink::open();
        if (!netlink) return netlink.error();
        netlink_ = std::make_unique<Rtnetlink>(std::move(*netlink));
        auto changes = open_change_socket();
        if (!changes) return changes.error();
        std::vector<std::string> tables{"mangle", "nat"};
        if (rules_.dns) tables.push_back("raw");
        auto mark = RulesMark::open(node_.tables.kind(), std::move(tables));
        if (!mark) return mark.error();
        mark_ = std::move(*mark);
        changes_ = std::make_unique<ChangeWatch>(node_.io, std::move(*changes), [this] { on_change(); });
        return {};
    });
}

Result<> RuledPod::claim_netns() {
    for (const Record& known : node_.records.all()) {
        if (known.netns != record_.netns) continue;
        taken_over_ = true;
        earlier_tables_ = known.tables;
        record_.addresses = known.addresses;
    }
    if (taken_over_) return node_.records.put(record_);
    if (std::string other = node_.records.other_owner(record_.netns); !other.empty())
        return base::problem(record_.name + " is captured by instance \"" + other + "\" (culvertd cleanup ends that)");
    auto foreign = base::in_netns(netns_.get(), [this] { return finds_chains(node_.records.lock_file()); });
    if (!foreign) return foreign.error();
    if (*foreign)
        return base::problem(record_.name +
                             " has chains ISTIO_PRERT and ISTIO_OUTPUT that culvertd did not make: take the pod out of "
                             "the mesh that made them (istio-cni's, say) first");
    return node_.records.put(record_);
}

Result<> RuledPod::install() {
    auto visit = [this]() -> Result<> {
        if (auto done = put_rules(); !done) return done;
        // The node has changed its kind of iptables since. New rules first: the pod is never open.
        if (taken_over_ && earlier_tables_ != node_.tables.kind())
            return remove_chains(Tables::of(earlier_tables_, node_.records.lock_file()));
        return {};
    };
    if (auto done = base::in_netns(netns_.get(), visit); !done)
        return base::problem("rules of " + record_.name + ": " + done.error().to_string());
    return follow_addresses();
}

Result<> RuledPod::follow_addresses() {
    auto addresses = netlink_->addresses();
    if (!addresses) return addresses.error();
    auto interfaces = netlink_->interfaces();
    if (!interfaces) return interfaces.error();
    std::erase_if(*interfaces, [this](const Interface& one) {
        return std::ranges::find(rules_.virtual_interfaces, one.name) != rules_.virtual_interfaces.end();
    });
    std::vector<std::string> now;
    for (const InterfaceAddress& address : *addresses) {
        bool towards_node =
            std::ranges::any_of(*interfaces, [&](const Interface& one) { return one.index == address.interface; });
        if (address.global && towards_node) now.push_back(address.ip.to_string());
    }
    std::ranges::sort(now);
    std::vector<std::string> gone;
    std::ranges::set_difference(record_.addresses, now, std::back_inserter(gone));
    if (now == in_set_) return {};
    // The record names at all times what may be in the set.
    record_.addresses = now;
    record_.addresses.insert(record_.addresses.end(), gone.begin(), gone.end());
    if (auto done = node_.records.put(record_); !done) return done;
    record_.addresses = now;
    HostProbes probes{node_.tables, node_.node_netns, node_.node};
    if (auto done = probes.add(now, record_.uid); !done) return done;
    if (auto done = probes.remove(but_for_others(node_.records, record_, std::move(gone))); !done) return done;
    in_set_ = now;
    return node_.records.put(record_);
}

// As the daemon itself wants them from now on.
Result<> RuledPod::put_rules() {
    capturing_ = true;  // what fails now, check() tries again
    known_.clear();
    auto done = put_redirect(node_.tables, rules_);
    if (!done) return done.error();
    known_ = mark_->now();
    return {};
}

void RuledPod::check() {
    if (!capturing_) return;
    // Before the rules are looked at: what is changed meanwhile is another change.
    std::string now = mark_->now();
    if (now == known_) return;
    auto done = base::in_netns(netns_.get(), [this] { return put_redirect(node_.tables, rules_); });
    known_ = done ? std::move(now) : std::string{};
    say(done);
}

// The kernel drops the route when IPv6 is switched off on lo. Judged by what is there: off and on may be one change.
void RuledPod::on_change() {
    auto done = follow_addresses();
    if (!done)
        base::log::warn("capture", "{}: its interfaces changed, and: {}", record_.name, done.error().to_string());
    if (capturing_) say(base::in_netns(netns_.get(), put_routing));
}

void RuledPod::say(const Result<Mended>& done) {
    std::string failed = done ? "" : done.error().to_string();
    if (!failed.empty() && failed != failed_)
        base::log::error("capture", "{}: what was taken away could not be put back: {}", record_.name, failed);
    failed_ = std::move(failed);
    if (!done) return;
    if (done->tables) node_.repairs.add(Part::iptables, record_.name);
    if (done->rule) node_.repairs.add(Part::rule, record_.name);
    if (done->route) node_.repairs.add(Part::route, record_.name);
}

void RuledPod::end_connecting() {
    auto ended = base::in_netns(netns_.get(), end_connecting_sockets);
    if (!ended)
        base::log::warn("capture", "{}: {}", record_.name, ended.error().to_string());
    else if (*ended > 0)
        base::log::info("capture", "{}: ended {} connections that were just being made", record_.name, *ended);
}

Result<> RuledPod::exclude(const state::Exclusions& exclusions) {
    rules_.exclusions = exclusions;
    return base::in_netns(netns_.get(), [this] { return put_rules(); });
}

Result<> RuledPod::stop_capturing() {
    capturing_ = false;
    return base::in_netns(netns_.get(), [this] { return stop_redirect(node_.tables); });
}

Result<> RuledPod::release() {
    changes_.reset();
    return undo(node_.records, record_, std::move(netns_));
}

Result<> undo(Records& records, const Record& record, Fd netns) {
    Tables tables = Tables::of(record.tables, records.lock_file());
    Result<> undone;
    if (netns) undone = base::in_netns(netns.get(), [&] { return remove_redirect(tables); });
    const auto addresses = but_for_others(records, record, record.addresses);
    if (Fd node = find_netns(record.node))
        keep_first(undone, HostProbes{tables, node.get(), record.node}.remove(addresses));
    else
        forget_probe_marks(record.node);
    if (undone) records.remove(record.netns);
    return undone;
}

}
