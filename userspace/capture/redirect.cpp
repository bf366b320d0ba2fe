// SPDX-License-Identifier: Apache-2.0
#include "redirect.hpp"

#include <sys/socket.h>

#include <culvert/bpf/marks.h>

#include "netlink.hpp"
#include "routing.hpp"
#include "undo.hpp"

namespace culvert::capture {

using base::Result;

namespace {

Rule mark_rule(int family) {
    return {.family = family,
            .priority = mark_rule_priority,
            .mark = CV_MARK_LOOP,
            .mask = CV_MARK_MASK,
            .table = CV_ROUTE_TABLE};
}

LocalRoute lo_route(int family) {
    return {.family = family, .interface = CV_LOOPBACK_IFINDEX, .table = CV_ROUTE_TABLE, .metric = 0};
}

Result<> put_routing(Rtnetlink& netlink, int family) {
    // Without IPv6 on lo the kernel takes no such route; Istio leaves it out, too.
    if (family == AF_INET || ipv6_of("lo") == Ipv6::on)
        if (auto done = netlink.put(lo_route(family)); !done) return done;
    return netlink.add(mark_rule(family));
}

Result<> put_tables(const Tables& tables, int family, const RulesOfPod& pod) {
    auto saved = tables.save(family);
    if (!saved) return saved.error();
    std::string wanted = pod_rules(family, pod);
    if (holds(*saved, wanted, Place::pod)) return {};
    if (!has_traces(*saved, Place::pod)) return tables.restore(family, wanted);
    if (std::string text = exchange_rules(*saved, wanted); !text.empty()) return tables.restore(family, text);
    if (without_guard(*saved).empty())
        if (auto done = tables.restore(family, guard_rules()); !done) return done;
    if (std::string old = without_chains(*saved, Place::pod); !old.empty())
        if (auto done = tables.restore(family, old); !done) return done;
    if (auto done = tables.restore(family, wanted); !done) return done;
    auto guarded = tables.save(family);
    if (!guarded) return guarded.error();
    return tables.restore(family, without_guard(*guarded));
}

// Changes both families by what `text_for` makes of their rules. One that the pod does not have may fail.
template <class TextFor>
Result<> take_out(const Tables& tables, TextFor text_for) {
    Result<> done;
    for (int family : {AF_INET, AF_INET6}) {
        auto one = [&]() -> Result<> {
            auto saved = tables.save(family);
            if (!saved) return saved.error();
            std::string text = text_for(*saved);
            return text.empty() ? Result<>{} : tables.restore(family, text);
        }();
        if (family == AF_INET || kernel_has_ipv6()) keep_first(done, one);
    }
    return done;
}

}

Result<> put_redirect(const Tables& tables, const RulesOfPod& pod) {
    auto netlink = Rtnetlink::open();
    if (!netlink) return netlink.error();
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !kernel_has_ipv6()) continue;
        if (auto done = put_routing(*netlink, family); !done) return done;
        if (auto done = put_tables(tables, family, pod); !done) return done;
    }
    return {};
}

Result<bool> finds_chains(const std::string& lock) {
    for (const Tables& tables : Tables::all(lock)) {
        for (int family : {AF_INET, AF_INET6}) {
            if (family == AF_INET6 && !kernel_has_ipv6()) continue;
            auto saved = tables.save(family);
            if (!saved) return saved.error();
            if (!without_chains(*saved, Place::pod).empty()) return true;
        }
    }
    return false;
}

Result<> stop_redirect(const Tables& tables) {
    return take_out(tables, without_redirects);
}

Result<> remove_chains(const Tables& tables) {
    return take_out(tables,
                    [](const std::string& saved) { return without_chains(saved, Place::pod) + without_guard(saved); });
}

Result<> remove_redirect(const Tables& tables) {
    Result<> done = remove_chains(tables);
    auto netlink = Rtnetlink::open();
    if (!netlink) return netlink.error();
    for (int family : {AF_INET, AF_INET6}) {
        keep_first(done, netlink->remove(mark_rule(family)));
        keep_first(done, netlink->remove(lo_route(family)));
    }
    return done;
}

}
