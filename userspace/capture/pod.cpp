// SPDX-License-Identifier: Apache-2.0
#include "pod.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <cstring>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/marks.h>
#include <culvert/bpf/sock.h>

#include "addresses.hpp"
#include "exclusions.hpp"
#include "expedite.hpp"
#include "istio_rules.hpp"
#include "kernel.hpp"
#include "listeners.hpp"
#include "netns_search.hpp"
#include "sock_diag.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

constexpr unsigned checks_per_follow = 20;

template <std::size_t N>
void copy_cut(char (&to)[N], const std::string& from) {
    std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

bool takes_dns(const std::vector<Listener>& listeners) {
    return std::ranges::any_of(listeners, [](const Listener& one) { return one.arrival == Arrival::dns; });
}

std::uint32_t slot_of(const Listener& listener, unsigned workers) {
    auto arrival = static_cast<std::uint32_t>(listener.arrival);
    return (arrival * 2 + (listener.family == AF_INET6)) * workers + listener.worker;
}

}

Result<std::unique_ptr<Pod>> Pod::enrol(const NodeSide& node, const PodSpec& spec,
                                        const std::vector<Listener>& listeners) {
    std::unique_ptr<Pod> pod{new Pod{node, spec}};
    if (auto done = pod->enter(spec, listeners); !done) return done.error();
    if (auto done = pod->install(listeners); !done) {
        // What was captured before stays closed; what was not must not keep half of it.
        if (!pod->taken_over_) (void)pod->release();
        return done.error();
    }
    if (!pod->taken_over_) pod->end_connecting();
    pod->say_what_rules_decide();
    return pod;
}

Result<> Pod::install(const std::vector<Listener>& listeners) {
    auto loaded = Programs::load(Programs::Pod{cookie_, node_.workers}, node_.programs);
    if (!loaded) return loaded.error();
    programs_ = std::make_unique<Programs>(std::move(*loaded));
    if (auto done = fill_slots(listeners); !done) return done;
    // Without a row its guards, which come next, would take their interfaces for stolen ones.
    if (!taken_over_)
        if (auto done = say(CV_POD_LEAVING); !done) return done;
    if (auto done = follow(); !done) return done;
    if (auto done = attach(); !done) return done;
    installed_ = true;
    row_.state = CV_POD_CAPTURING;
    if (auto done = write_row(); !done) return done;  // the switch: until the row says this, no program does anything
    auto routing = route();
    return routing ? Result<>{} : routing.error();
}

void Pod::end_connecting() {
    auto ended = base::in_netns(netns_.get(), end_connecting_sockets);
    if (!ended)
        base::log::warn("capture", "{}: {}", name_, ended.error().to_string());
    else if (*ended > 0)
        base::log::info("capture", "{}: ended {} connections that were just being made", name_, *ended);
}

Result<> Pod::enter(const PodSpec& spec, const std::vector<Listener>& listeners) {
    netns_ = Fd{::fcntl(spec.netns, F_DUPFD_CLOEXEC, 3)};
    if (!netns_) return base::errno_while("keep the netns of " + name_);
    auto visit = [this]() -> Result<> {
        auto cookie = netns_cookie();
        if (!cookie) return cookie.error();
        cookie_ = *cookie;
        auto netlink = Rtnetlink::open();
        if (!netlink) return netlink.error();
        netlink_ = std::make_unique<Rtnetlink>(std::move(*netlink));
        auto sysctls = Sysctls::open();
        if (!sysctls) return sysctls.error();
        sysctls_ = std::move(*sysctls);
        auto before = sysctls_->read();
        if (!before) return before.error();
        row_.tcp_fwmark_accept_was = before->tcp_fwmark_accept;
        row_.fwmark_reflect_was = before->fwmark_reflect;
        row_.fwmark_reflect6_was = before->fwmark_reflect6;
        row_.src_valid_mark_was = before->src_valid_mark;
        auto changes = open_change_socket();
        if (!changes) return changes.error();
        changes_ = std::make_unique<ChangeWatch>(node_.io, std::move(*changes), [this] { on_change(); });
        return {};
    };
    if (auto visited = base::in_netns(netns_.get(), visit); !visited) return visited;

    if (cookie_ == node_.netns)
        return base::problem(name_ + " lives in the node's own network namespace and cannot be captured");
    if (std::string other = node_.pins.other_owner(cookie_); !other.empty())
        return base::problem(name_ + " is captured by instance \"" + other + "\" (culvertd cleanup ends that)");

    if (auto before = find_row(node_.programs.map("cv_pods"), cookie_)) {
        taken_over_ = true;
        row_ = *before;
        if (auto done = change_dns(*before, spec.dns); !done) return done;
    } else if (node_.pins.olds_have(cookie_)) {
        // Its row is not ours to read, and the sysctls are what that daemon made of them: take the kernel's defaults.
        taken_over_ = true;
        row_.tcp_fwmark_accept_was = row_.fwmark_reflect_was = row_.fwmark_reflect6_was = row_.src_valid_mark_was = 0;
    }
    row_.daemon = node_.daemon;
    row_.by_rules = bringer_of(listeners) == Bringer::rules;
    row_.netns_inode = netns_inode(netns_.get());
    row_.dns = takes_dns(listeners);
    std::memset(row_.uid, 0, sizeof row_.uid);
    std::memset(row_.name, 0, sizeof row_.name);
    copy_cut(row_.uid, uid_);
    copy_cut(row_.name, name_);
    policy_.emplace(node_.programs.map("cv_policy"), cookie_);
    // What an earlier daemon wrote goes before ours is open.
    if (auto done = policy_->write(by_rules() ? policy::Plaintext{} : spec.plaintext); !done)
        base::log::warn("capture", "{}: {}; the proxy decides alone", name_, done.error().to_string());
    return put_exclusions(row_, spec.exclusions);
}

Result<> Pod::fill_slots(const std::vector<Listener>& listeners) {
    int slots = programs_->map("cv_listeners");
    slots_.clear();
    for (const Listener& listener : listeners) {
        CV_CHECK(listener.worker < node_.workers, "listeners come from listen(), which counts the same workers");
        std::uint32_t slot = slot_of(listener, node_.workers);
        auto fd = static_cast<std::uint64_t>(listener.fd.get());
        if (bpf_map_update_elem(slots, &slot, &fd, BPF_ANY) != 0)
            return base::errno_while("put a listener of " + name_ + " in its slot");
        slots_.push_back(slot);
    }
    return {};
}

Result<> Pod::refill(const std::vector<Listener>& listeners) {
    if (auto done = fill_slots(listeners); !done) return done;
    auto bringer = bringer_of(listeners);
    if (by_rules() == (bringer == Bringer::rules)) return {};
    row_.by_rules = !row_.by_rules;
    if (auto done = follow(); !done) return done;
    base::log::info("capture", "{}: from now on it is captured{}", name_, to_string(bringer));
    say_what_rules_decide();
    return say(row_.state);
}

Result<> Pod::attach() {
    int lookup = programs_->program("cv_lookup");
    auto attached = replace_or_attach(pins() + "/lookup", lookup, [&]() -> Result<Fd> {
        Fd link{bpf_link_create(lookup, netns_.get(), BPF_SK_LOOKUP, nullptr)};
        if (!link) return base::errno_while("attach cv_lookup to the netns of " + name_);
        return link;
    });
    if (!attached) return attached.error();
    lookup_ = std::move(*attached);
    return {};
}

Result<> Pod::say(cv_pod_state state) {
    row_.state = state;
    auto found = find_row(node_.programs.map("cv_pods"), cookie_);
    if (installed_ && found && found->daemon != row_.daemon) return {};  // not ours to say any more
    return write_row();
}

Result<> Pod::write_row() const {
    cv_pod_key key{cookie_};
    if (bpf_map_update_elem(node_.programs.map("cv_pods"), &key, &row_, BPF_ANY) != 0)
        return base::errno_while("write " + name_ + " into cv_pods");
    return {};
}

// Behind a virtual interface, and among the ports of a virtual bridge, nothing leaves the pod.
std::vector<Interface> Pod::guarded(const std::vector<Interface>& interfaces) const {
    auto is_virtual = [&](const Interface& one) {
        return std::find(virtual_interfaces_.begin(), virtual_interfaces_.end(), one.name) != virtual_interfaces_.end();
    };
    std::vector<Interface> rest;
    for (const Interface& interface : interfaces) {
        bool inside =
            is_virtual(interface) || std::any_of(interfaces.begin(), interfaces.end(), [&](const Interface& master) {
                return master.index == interface.master && is_virtual(master);
            });
        if (!inside) rest.push_back(interface);
    }
    return rest;
}

void Pod::note_virtual(const std::vector<Interface>& interfaces) {
    std::size_t n = 0;
    std::memset(row_.virtual_interfaces, 0, sizeof row_.virtual_interfaces);
    for (const Interface& interface : interfaces)
        if (std::find(virtual_interfaces_.begin(), virtual_interfaces_.end(), interface.name) !=
                virtual_interfaces_.end() &&
            n < std::size(row_.virtual_interfaces))
            row_.virtual_interfaces[n++] = static_cast<std::uint32_t>(interface.index);
}

Sysctls::Values Pod::wanted_sysctls() const {
    return {1, 1, 1, row_.dns ? std::uint8_t{1} : Sysctls::untouched};
}

// An earlier daemon, or enrolment, may have left it as it is not wanted now.
Result<> Pod::change_dns(const cv_pod& before, bool wanted) {
    auto now = sysctls_->read();
    if (!now) return now.error();
    if (!before.dns) row_.src_valid_mark_was = now->src_valid_mark;
    if (!before.dns || wanted) return {};
    now->src_valid_mark = before.src_valid_mark_was;
    return sysctls_->write(*now);
}

// Questions are looped only while there is somebody to take them, or while they must be lost.
Result<RoutingChanges> Pod::route() {
    // Istio's rules redirect what comes by virtual interfaces.
    static const std::vector<std::string> none;
    if (by_rules()) return sync_routing(*netlink_, around_, {none, CV_ROUTE_TABLE_BESIDE});
    return sync_routing(*netlink_, around_,
                        {virtual_interfaces_, CV_ROUTE_TABLE, row_.dns != 0 && row_.state == CV_POD_CAPTURING});
}

Result<> Pod::follow() {
    if (auto made = make_directory(pins()); !made) return made;
    Surroundings before = std::exchange(around_, {});
    unsigned guards = 0;
    auto visit = [&]() -> Result<> {
        auto now = look_around(*netlink_);
        if (!now) return now.error();
        around_ = std::move(*now);
        auto put = guards_.put(*programs_, pins(), guarded(around_.interfaces), around_.interfaces, node_.guard_hook);
        if (!put) return put.error();
        guards = *put;
        return {};
    };
    if (auto done = base::in_netns(netns_.get(), visit); !done) return done;
    publish_addresses(node_.programs, cookie_, name_, around_.addresses,
                      installed_ || taken_over_ ? Claim::the_rest : Claim::as_new);
    note_virtual(around_.interfaces);
    auto routing = route();
    if (!routing) return routing.error();
    if (!by_rules())
        if (auto done = sysctls_->write(wanted_sysctls()); !done) return done;
    if (!installed_ || before != around_) return installed_ ? say(row_.state) : Result<>{};
    if (guards > 0) node_.repairs.add(Part::guard, name_, guards);
    if (routing->rules > 0) node_.repairs.add(Part::rule, name_, routing->rules);
    if (routing->routes > 0) node_.repairs.add(Part::route, name_, routing->routes);
    return {};
}

// A burst of events is answered once, and one that does not end (a router's routes) twenty times a second.
void Pod::on_change() {
    if (follow_waits_) return;
    follow_waits_ = true;
    may_follow_.async_wait([this, here = std::weak_ptr{here_}](boost::system::error_code cancelled) {
        if (cancelled || here.expired()) return;
        follow_waits_ = false;
        auto row = find_row(node_.programs.map("cv_pods"), cookie_);
        // A successor follows; or check() repairs the row first.
        if (installed_ && (!row || row->daemon != node_.daemon)) {
            follow_due_ = true;
            return;
        }
        if (auto done = follow(); !done)
            base::log::warn("capture", "{}: its network changed, and: {}", name_, done.error().to_string());
        may_follow_.expires_after(std::chrono::milliseconds{50});
    });
}

Pod::Health Pod::check() {
    if (closed_) return Health::fine;
    auto found = find_row(node_.programs.map("cv_pods"), cookie_);
    if (found && found->daemon != node_.daemon) return Health::taken_over;
    repair_row(found);
    repair_policy();
    repair_links();
    repair_sysctls();
    repair_pins();
    if (++checks_ % checks_per_follow == 0) follow_due_ = true;  // events may be lost
    if (std::exchange(follow_due_, false)) {
        if (auto done = follow(); !done) base::log::warn("capture", "{}: {}", name_, done.error().to_string());
        // Nobody would bring us what comes to it: it would meet the app.
        if (by_rules() && !rules_are_there()) return Health::listeners_lost;
    }
    return slots_filled() ? Health::fine : Health::listeners_lost;
}

// Of listeners that were there before the pod was enrolled. Not within enrol(): the kernel walks all its sockets for
// this, and until then the guard drops what such a listener would answer to a stranger.
bool Pod::take_marks_off() {
    int program = node_.programs.program("cv_unmark_listeners");
    if (!std::exchange(look_for_marks_, false) || program < 0) return false;
    auto walk = [program]() -> Result<> {
        Fd link{bpf_link_create(program, 0, BPF_TRACE_ITER, nullptr)};
        Fd listeners{link ? bpf_iter_create(link.get()) : -1};
        char nothing[64];
        ssize_t got = -1;
        while (listeners && (got = ::read(listeners.get(), nothing, sizeof nothing)) > 0) continue;
        if (got < 0) return base::errno_while("look for listeners with a mark");
        return {};
    };
    if (auto done = base::in_netns(netns_.get(), walk); !done)
        base::log::warn("capture", "{}: {}", name_, done.error().to_string());
    return true;
}

Result<> Pod::take_back() {
    if (auto done = attach(); !done) return done;
    follow_due_ = true;
    return write_row();
}

void Pod::repair_row(const std::optional<cv_pod>& found) {
    if (found && std::memcmp(&*found, &row_, sizeof row_) == 0) return;
    follow_due_ = true;
    if (say(row_.state)) node_.repairs.add(Part::row, name_);
}

void Pod::repair_policy() {
    if (policy_->repair()) node_.repairs.add(Part::policy, name_);
}

void Pod::repair_links() {
    if (!runs(lookup_.get(), programs_->program("cv_lookup")) && attach()) node_.repairs.add(Part::lookup, name_);
    if (!guards_.whole()) on_change();
}

void Pod::repair_sysctls() {
    if (by_rules()) return;
    auto now = sysctls_->read();
    Sysctls::Values wanted = wanted_sysctls();
    if (now && now->fwmark_reflect6 == 0 && around_.ipv6_on_lo == Ipv6::absent) wanted.fwmark_reflect6 = 0;
    if (now && row_.dns == 0) wanted.src_valid_mark = now->src_valid_mark;
    if (!now || *now == wanted) return;
    if (sysctls_->write(wanted_sysctls())) node_.repairs.add(Part::sysctl, name_);
}

void Pod::repair_pins() {
    unsigned restored = guards_.restore_pins(pins());
    if (restore_pin(lookup_.get(), pins() + "/lookup")) ++restored;
    if (restored > 0) node_.repairs.add(Part::pin, name_, restored);
}

// To which port it came is known to those rules alone: they bring it all to one of ours.
void Pod::say_what_rules_decide() const {
    if (by_rules() && (row_.excludes & CV_EXCLUDES_INBOUND) != 0)
        base::log::warn("capture", "{}: inbound ports do not bypass the mesh: istio-cni's rules bring all to the proxy",
                        name_);
}

bool Pod::rules_are_there() const {
    auto found = base::in_netns(netns_.get(), finds_istio_rules);
    return !found || *found;
}

// A listener that was closed, by whomever, is out of its slot.
bool Pod::slots_filled() const {
    if (row_.state != CV_POD_CAPTURING) return true;
    int map = programs_->map("cv_listeners");
    return std::all_of(slots_.begin(), slots_.end(), [map](std::uint32_t slot) {
        std::uint64_t cookie = 0;
        return bpf_map_lookup_elem(map, &slot, &cookie) == 0;
    });
}

Result<> Pod::close() {
    row_.state = CV_POD_CAPTURING;
    row_.daemon = 0;
    closed_ = true;
    if (auto done = write_row(); !done) return done;
    auto routing = route();
    return routing ? Result<>{} : routing.error();
}

Result<> Pod::exclude(const state::Exclusions& exclusions) {
    if (auto put = put_exclusions(row_, exclusions); !put) return put;
    say_what_rules_decide();
    return say(row_.state);
}

Result<> Pod::judge(const policy::Plaintext& plaintext) {
    auto found = find_row(node_.programs.map("cv_pods"), cookie_);
    if (found && found->daemon != row_.daemon) return {};  // not ours to say any more
    return policy_->write(by_rules() ? policy::Plaintext{} : plaintext);
}

Result<> Pod::stop_capturing() {
    if (auto done = say(CV_POD_LEAVING); !done || row_.dns == 0) return done;
    auto routing = route();
    return routing ? Result<>{} : routing.error();
}

Result<> Pod::release() {
    changes_.reset();
    lookup_.reset();
    guards_ = {};
    auto undone = undo(pins(), row_, std::move(netns_));
    delete_row(node_.programs.map("cv_pods"), cookie_);  // after the guards, see install()
    if (policy_) policy_->remove();
    publish_addresses(node_.programs, cookie_, name_, {});
    return undone;
}

std::optional<cv_pod> find_row(int pods_map, std::uint64_t cookie) {
    cv_pod_key key{cookie};
    cv_pod row{};
    if (pods_map < 0 || bpf_map_lookup_elem(pods_map, &key, &row) != 0) return {};
    return row;
}

void delete_row(int pods_map, std::uint64_t cookie) {
    cv_pod_key key{cookie};
    if (pods_map >= 0) bpf_map_delete_elem(pods_map, &key);
}

Fd find_netns_of(const std::string& pod_pins, const std::optional<cv_pod>& row) {
    std::uint32_t inode = row ? row->netns_inode : 0;
    if (Fd link = pinned(pod_pins + "/lookup")) inode = netns_of_link(link.get());
    Fd netns = find_netns(inode);
    if (!netns && inode != 0)
        base::log::warn("capture", "network namespace {} lives but cannot be entered; its rules stay", inode);
    return netns;
}

Result<> undo(const std::string& pod_pins, const std::optional<cv_pod>& row, Fd netns) {
    Result<> undone;
    if (netns) {
        undone = base::in_netns(netns.get(), [&]() -> Result<> {
            unpin(pod_pins + "/lookup");
            remove_guards(pod_pins);
            auto netlink = Rtnetlink::open();
            if (!netlink) return netlink.error();
            if (auto removed = remove_routing(*netlink); !removed) return removed;
            if (!row) return {};
            auto sysctls = Sysctls::open();
            if (!sysctls) return sysctls.error();
            return sysctls->write({row->tcp_fwmark_accept_was, row->fwmark_reflect_was, row->fwmark_reflect6_was,
                                   row->dns ? row->src_valid_mark_was : Sysctls::untouched});
        });
    }
    if (!undone) return undone;  // the pins are what a second try needs
    end_expedited(pod_pins);
    remove_tree(pod_pins);
    return undone;
}

}
