// SPDX-License-Identifier: Apache-2.0
// Looks whether what was put into the pod is still there, and puts back what is not.
#include "pod.hpp"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>

#include "istio_rules.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

constexpr unsigned checks_per_follow = 20;

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

}
