// SPDX-License-Identifier: Apache-2.0
#include "undo.hpp"

#include <bpf/bpf.h>

#include <algorithm>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

#include "expedite.hpp"
#include "guard.hpp"
#include "netlink.hpp"
#include "netns_search.hpp"
#include "pins.hpp"
#include "pod.hpp"
#include "routing.hpp"
#include "sysctls.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

bool speaks_our_schema(const std::string& home) {
    Fd schema = pinned(home + "/cv_schema");
    std::uint32_t row = 0;
    cv_schema found{};
    return schema && bpf_map_lookup_elem(schema.get(), &row, &found) == 0 && found.version == CV_SCHEMA_VERSION;
}

// By its inode, among the namespaces that have a name or a process; empty where it is gone, or held by descriptors
// only.
Fd find_netns_of(const std::string& pod_pins, const std::optional<cv_pod>& row) {
    std::uint32_t inode = row ? row->netns_inode : 0;
    if (Fd link = pinned(pod_pins + "/lookup")) inode = netns_of_link(link.get());
    Fd netns = find_netns(inode);
    if (!netns && inode != 0)
        base::log::warn("capture", "network namespace {} lives but cannot be entered; its rules stay", inode);
    return netns;
}

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

void keep_first(Result<>& kept, const Result<>& next) {
    if (!next && kept.has_value()) kept = next;
}

Result<> undo_pods(const std::string& home, const std::vector<std::uint64_t>& keep) {
    Result<> undone;
    Fd pods = pinned(home + "/cv_pods");
    Fd policies = pinned(home + "/cv_policy");
    bool readable = speaks_our_schema(home);
    for (std::uint64_t cookie : pods_in(home)) {
        if (std::find(keep.begin(), keep.end(), cookie) != keep.end()) continue;
        auto row = readable ? find_row(pods.get(), cookie) : std::nullopt;
        const std::string pod_pins = home + "/pods/" + std::to_string(cookie);
        auto done = undo(pod_pins, row, find_netns_of(pod_pins, row));
        keep_first(undone, done);
        delete_row(policies.get(), cookie);
        if (done) delete_row(pods.get(), cookie);  // else it tells the next try what the sysctls were
    }
    return undone;
}

}
