// SPDX-License-Identifier: Apache-2.0
#include "pod.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/sock.h>

#include "addresses.hpp"
#include "kernel.hpp"
#include "netns_search.hpp"
#include "sock_diag.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

template <std::size_t N>
void copy_cut(char (&to)[N], const std::string& from) {
    std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

std::uint32_t slot_of(const Listener& listener, unsigned workers) {
    auto arrival = static_cast<std::uint32_t>(listener.arrival);
    return (arrival * 2 + (listener.family == AF_INET6)) * workers + listener.worker;
}

}

Result<std::unique_ptr<Pod>> Pod::enrol(const NodeSide& node, const PodSpec& spec,
                                        const std::vector<Listener>& listeners) {
    std::unique_ptr<Pod> pod{new Pod{node, spec}};
    if (auto done = pod->enter(spec.netns); !done) return done.error();
    if (auto done = pod->install(listeners); !done) {
        // What was captured before stays closed; what was not must not keep half of it.
        if (!pod->taken_over_) (void)pod->release();
        return done.error();
    }
    if (!pod->taken_over_) pod->end_connecting();
    return pod;
}

Result<> Pod::install(const std::vector<Listener>& listeners) {
    auto loaded = Programs::load(Programs::Pod{cookie_, node_.workers}, node_.programs);
    if (!loaded) return loaded.error();
    programs_ = std::make_unique<Programs>(std::move(*loaded));
    if (auto done = fill_slots(listeners); !done) return done;
    if (auto done = follow_interfaces(); !done) return done;
    if (auto done = attach(); !done) return done;
    return say(CV_POD_CAPTURING);  // the switch: until this row is there, no program does anything
}

void Pod::end_connecting() {
    auto ended = base::in_netns(netns_.get(), end_connecting_sockets);
    if (!ended)
        base::log::warn("capture", "{}: {}", name_, ended.error().to_string());
    else if (*ended > 0)
        base::log::info("capture", "{}: ended {} connections that were just being made", name_, *ended);
}

Result<> Pod::enter(int netns) {
    netns_ = Fd{::fcntl(netns, F_DUPFD_CLOEXEC, 3)};
    if (!netns_) return base::errno_while("keep the netns of " + name_);
    auto visit = [this]() -> Result<> {
        auto cookie = netns_cookie();
        if (!cookie) return cookie.error();
        cookie_ = *cookie;
        ipv6_ = netns_has_ipv6();
        auto netlink = Rtnetlink::open();
        if (!netlink) return netlink.error();
        netlink_ = std::make_unique<Rtnetlink>(std::move(*netlink));
        auto sysctls = read_sysctls(ipv6_);
        if (!sysctls) return sysctls.error();
        row_.tcp_fwmark_accept_was = sysctls->tcp_fwmark_accept;
        row_.fwmark_reflect_was = sysctls->fwmark_reflect;
        row_.fwmark_reflect6_was = sysctls->fwmark_reflect6;
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
    }
    row_.daemon = node_.daemon;
    row_.netns_inode = netns_inode(netns_.get());
    std::memset(row_.uid, 0, sizeof row_.uid);
    std::memset(row_.name, 0, sizeof row_.name);
    copy_cut(row_.uid, uid_);
    copy_cut(row_.name, name_);
    return {};
}

Result<> Pod::fill_slots(const std::vector<Listener>& listeners) {
    int slots = programs_->map("cv_listeners");
    for (const Listener& listener : listeners) {
        CV_CHECK(listener.worker < node_.workers, "listeners come from listen(), which counts the same workers");
        std::uint32_t slot = slot_of(listener, node_.workers);
        auto fd = static_cast<std::uint64_t>(listener.fd.get());
        if (bpf_map_update_elem(slots, &slot, &fd, BPF_ANY) != 0)
            return base::errno_while("put a listener of " + name_ + " in its slot");
    }
    return {};
}

Result<> Pod::attach() {
    int lookup = programs_->program("cv_lookup");
    return replace_or_attach(pins() + "/lookup", lookup, [&]() -> Result<Fd> {
        Fd link{bpf_link_create(lookup, netns_.get(), BPF_SK_LOOKUP, nullptr)};
        if (!link) return base::errno_while("attach cv_lookup to the netns of " + name_);
        return link;
    });
}

Result<> Pod::say(cv_pod_state state) {
    row_.state = state;
    cv_pod_key key{cookie_};
    if (bpf_map_update_elem(node_.programs.map("cv_pods"), &key, &row_, BPF_ANY) != 0)
        return base::errno_while("write " + name_ + " into cv_pods");
    return {};
}

Result<> Pod::follow_interfaces() {
    if (auto made = make_directory(pins()); !made) return made;
    auto interfaces = netlink_->interfaces();
    if (!interfaces) return interfaces.error();
    auto addresses = netlink_->addresses();
    if (!addresses) return addresses.error();
    publish_addresses(node_.programs, cookie_, name_, *addresses);
    forget_interfaces(pins(), *interfaces);
    auto visit = [&]() -> Result<> {
        if (auto done = write_sysctls({1, 1, 1}, ipv6_); !done) return done;
        for (const Interface& interface : *interfaces)
            if (auto done = guard_interface(*programs_, pins(), interface, node_.guard_hook); !done) return done;
        return {};
    };
    if (auto done = base::in_netns(netns_.get(), visit); !done) return done;
    if (auto done = add_rules(*netlink_, ipv6_); !done) return done;
    return sync_routes(*netlink_, ipv6_, *interfaces, *addresses);
}

void Pod::on_change() {
    if (auto done = follow_interfaces(); !done)
        base::log::warn("capture", "{}: its interfaces changed, and: {}", name_, done.error().to_string());
}

Result<> Pod::stop_capturing() {
    return say(CV_POD_LEAVING);
}

Result<> Pod::release() {
    changes_.reset();
    delete_row(node_.programs.map("cv_pods"), cookie_);
    auto undone = undo(pins(), row_, std::move(netns_));
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
            return write_sysctls({row->tcp_fwmark_accept_was, row->fwmark_reflect_was, row->fwmark_reflect6_was},
                                 netns_has_ipv6());
        });
    }
    remove_tree(pod_pins);
    return undone;
}

}
