// SPDX-License-Identifier: Apache-2.0
#include "guard.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include <culvert/base/fd.hpp>

#include "expedite.hpp"
#include "pins.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// linux/bpf.h of Debian 12 is older than these, and so is its libbpf; the kernel call is the same.
constexpr int tcx_ingress = 46;
constexpr int tcx_egress = 47;

// Our filter's place, by which it is found again.
constexpr unsigned filter_handle = 0xc0;
constexpr unsigned filter_priority = 0xc0;

constexpr std::string_view in_prefix = "guard_in_";
constexpr std::string_view out_prefix = "guard_out_";
// A directory, because bpffs has no plain files: says that the clsact filters on this interface are ours.
constexpr std::string_view clsact_prefix = "clsact_";

std::string named(const std::string& pins, std::string_view prefix, int interface) {
    return pins + "/" + std::string{prefix} + std::to_string(interface);
}

struct Filter {
    int interface;
    bpf_tc_attach_point direction;

    bpf_tc_hook hook() const {
        bpf_tc_hook hook{};
        hook.sz = sizeof hook;
        hook.ifindex = interface;
        hook.attach_point = direction;
        return hook;
    }
    static bpf_tc_opts place() {
        bpf_tc_opts place{};
        place.sz = sizeof place;
        place.handle = filter_handle;
        place.priority = filter_priority;
        return place;
    }
    bool is_there() const {
        auto at = hook();
        auto found = place();
        return bpf_tc_query(&at, &found) == 0;
    }
    // Nothing to do when it is there already: replacing a filter is a change that we would be told of, and so on.
    bool runs(int program) const {
        bpf_prog_info info{};
        __u32 size = sizeof info;
        auto at = hook();
        auto found = place();
        return bpf_obj_get_info_by_fd(program, &info, &size) == 0 && bpf_tc_query(&at, &found) == 0 &&
               found.prog_id == info.id;
    }
    Result<> put(int program) const {
        if (runs(program)) return {};
        auto at = hook();
        if (int err = bpf_tc_hook_create(&at); err != 0 && err != -EEXIST)
            return base::errno_while("add clsact to interface " + std::to_string(interface), -err);
        auto options = place();
        options.prog_fd = program;
        options.flags = BPF_TC_F_REPLACE;
        if (int err = bpf_tc_attach(&at, &options); err != 0)
            return base::errno_while("attach the guard to interface " + std::to_string(interface), -err);
        return {};
    }
    void remove() const {
        auto at = hook();
        auto options = place();
        bpf_tc_detach(&at, &options);
    }
};

// Whether the filters had been there before and were taken off.
Result<bool> put_filters(const std::string& marker, int interface, int in, int out) {
    bool known = !make_directory(marker) || errno == EEXIST;
    Filter arriving{interface, BPF_TC_INGRESS}, leaving{interface, BPF_TC_EGRESS};
    bool taken_off = known && !(arriving.is_there() && leaving.is_there());
    if (auto done = arriving.put(in); !done) return done.error();
    if (auto done = leaving.put(out); !done) return done.error();
    return taken_off;
}

std::optional<int> index_after(std::string_view prefix, std::string_view name) {
    int index = 0;
    if (!name.starts_with(prefix)) return {};
    name.remove_prefix(prefix.size());
    if (std::from_chars(name.data(), name.data() + name.size(), index).ptr != name.data() + name.size()) return {};
    return index;
}

// Off the interface when this returns: a pin that goes last lets its link go at some later time.
void take_off(const std::string& pin) {
    Fd link = pinned(pin);
    unpin(pin);
}

bool has(const std::vector<Interface>& interfaces, int index) {
    return std::any_of(interfaces.begin(), interfaces.end(), [&](const Interface& one) { return one.index == index; });
}

void forget(const std::string& pins, const std::vector<Interface>& guarded, const std::vector<Interface>& there) {
    for (const std::string& name : pins_in(pins)) {
        for (std::string_view prefix : {in_prefix, out_prefix, clsact_prefix}) {
            auto index = index_after(prefix, name);
            if (!index) continue;
            if (has(guarded, *index)) continue;
            if (prefix == clsact_prefix) {
                Filter{*index, BPF_TC_INGRESS}.remove();
                Filter{*index, BPF_TC_EGRESS}.remove();
                remove_tree(pins + "/" + name);
            } else if (has(there, *index) || !is_attached(pinned(pins + "/" + name).get())) {
                take_off(pins + "/" + name);
            }
        }
    }
}

}

Result<unsigned> Guards::put(const Programs& pod, const std::string& pins, const std::vector<Interface>& guarded,
                             const std::vector<Interface>& there, GuardHook hook) {
    unsigned taken_off = 0;
    // Also when there is nothing to attach, the first time: an earlier daemon may have left it on.
    std::optional<Expedite> attaching;
    if (links_.empty()) attaching.emplace(pins);
    for (const Interface& interface : guarded) {
        int in = pod.program(interface.ethernet ? "cv_in_guard" : "cv_in_guard_l3");
        int out = pod.program(interface.ethernet ? "cv_out_guard" : "cv_out_guard_l3");
        auto known = links_.contains(interface.index);
        Pair& pair = links_[interface.index];
        if (hook == GuardHook::clsact) {
            auto put = put_filters(named(pins, clsact_prefix, interface.index), interface.index, in, out);
            if (!put) return put.error();
            taken_off += *put ? 1 : 0;
            continue;
        }
        auto hold = [&](Fd& link, int program, std::string_view prefix, int where) -> Result<> {
            if (link && runs(link.get(), program)) return {};
            taken_off += known ? 1 : 0;
            auto attached = replace_or_attach(named(pins, prefix, interface.index), program, [&]() -> Result<Fd> {
                if (!attaching) attaching.emplace(pins);
                Fd fresh{bpf_link_create(program, interface.index, static_cast<bpf_attach_type>(where), nullptr)};
                if (!fresh) return base::errno_while("attach the guard to interface " + interface.name);
                return fresh;
            });
            if (!attached) return attached.error();
            link = std::move(*attached);
            return {};
        };
        if (auto done = hold(pair.out, out, out_prefix, tcx_egress); !done) return done.error();
        if (auto done = hold(pair.in, in, in_prefix, tcx_ingress); !done) return done.error();
    }
    std::erase_if(links_, [&](const auto& one) {
        const auto& [index, pair] = one;
        return !has(guarded, index) && (has(there, index) || !is_attached(pair.out.get()));
    });
    forget(pins, guarded, there);
    return taken_off;
}

bool Guards::whole() const {
    return std::all_of(links_.begin(), links_.end(), [](const auto& one) {
        const Pair& pair = one.second;
        return (!pair.in || is_attached(pair.in.get())) && (!pair.out || is_attached(pair.out.get()));
    });
}

unsigned Guards::restore_pins(const std::string& pins) const {
    unsigned restored = 0;
    for (const auto& [interface, pair] : links_) {
        if (pair.in) restored += restore_pin(pair.in.get(), named(pins, in_prefix, interface));
        if (pair.out) restored += restore_pin(pair.out.get(), named(pins, out_prefix, interface));
    }
    return restored;
}

void remove_guards(const std::string& pins) {
    Expedite detaching{pins};
    for (const std::string& name : pins_in(pins)) {
        if (auto index = index_after(clsact_prefix, name)) {
            Filter{*index, BPF_TC_INGRESS}.remove();
            Filter{*index, BPF_TC_EGRESS}.remove();
            remove_tree(pins + "/" + name);
        } else if (index_after(in_prefix, name) || index_after(out_prefix, name)) {
            take_off(pins + "/" + name);
        }
    }
}

}
