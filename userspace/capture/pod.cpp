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

#include "addresses.hpp"
#include "exclusions.hpp"
#include "kernel.hpp"
#include "listeners.hpp"
#include "netns_search.hpp"
#include "sock_diag.hpp"
#include "undo.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

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

// To which port it came is known to those rules alone: they bring it all to one of ours.
void Pod::say_what_rules_decide() const {
    if (by_rules() && (row_.excludes & CV_EXCLUDES_INBOUND) != 0)
        base::log::warn("capture", "{}: inbound ports do not bypass the mesh: istio-cni's rules bring all to the proxy",
                        name_);
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
    publish_addresses(node_.programs, cookie_, {});
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

}
