// SPDX-License-Identifier: Apache-2.0
#include "redirect.hpp"

#include <sys/socket.h>

#include <algorithm>

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

Result<> put_route(Rtnetlink& netlink, int family, Mended& mended) {
    // Without IPv6 on lo the kernel takes no such route; Istio leaves it out, too.
    if (family == AF_INET6 && ipv6_of("lo") != Ipv6::on) return {};
    auto routes = netlink.routes(family, CV_ROUTE_TABLE);
    if (!routes) return routes.error();
    if (!routes->empty()) return {};
    mended.route = true;
    return netlink.put(lo_route(family));
}

Result<> put_rule(Rtnetlink& netlink, int family, Mended& mended) {
    auto rules = netlink.rules(family);
    if (!rules) return rules.error();
    if (std::ranges::find(*rules, mark_rule(family)) != rules->end()) return {};
    mended.rule = true;
    return netlink.add(mark_rule(family));
}

// What cannot be seen would be put there once more, and never be taken out.
Result<> readable(const std::string& saved, const std::string& wanted) {
    std::string table = unreadable_table(saved, wanted);
    if (table.empty()) return {};
    return base::problem("table " + table + " has rules that iptables cannot read, another tool's (nft's, say)");
}

Result<> replace_tables(const Tables& tables, int family, const std::string& wanted, const std::string& found) {
    if (!has_traces(found, Place::pod)) return tables.restore(family, wanted);
    if (std::string text = exchange_rules(found, wanted); !text.empty()) return tables.restore(family, text);
    if (auto seen = readable(found, guard_rules()); !seen) return seen;
    if (without_guard(found).empty())
        if (auto done = tables.restore(family, guard_rules()); !done) return done;
    if (std::string old = without_chains(found, Place::pod); !old.empty())
        if (auto done = tables.restore(family, old); !done) return done;
    if (auto done = tables.restore(family, wanted); !done) return done;
    auto guarded = tables.save(family);
    if (!guarded) return guarded.error();
    return tables.restore(family, without_guard(*guarded));
}

Result<> put_tables(const Tables& tables, int family, const RulesOfPod& pod, Mended& mended) {
    auto saved = tables.save(family);
    if (!saved) return saved.error();
    const std::string wanted = pod_rules(family, pod);
    if (auto seen = readable(*saved, wanted); !seen) return seen;
    if (holds(*saved, wanted, Place::pod)) return {};
    mended.tables = true;
    return replace_tables(tables, family, wanted, *saved);
}

// Changes both families by what `text_for` makes of their rules. One that the pod does not have may fail.
template <class TextFor>
Result<> take_out(const Tables& tables, TextFor text_for) {
    Result<> done;
    for (int family : {AF_INET, AF_INET6}) {
        auto one = [&]() -> Result<> {
            auto saved = tables.save(family);
            if (!saved) return saved.error();
            if (auto seen = readable(*saved, pod_rules(family, {})); !seen) return seen;
            std::string text = text_for(*saved);
            return text.empty() ? Result<>{} : tables.restore(family, text);
        }();
        if (family == AF_INET || kernel_has_ipv6()) keep_first(done, one);
    }
    return done;
}

}

Result<Mended> put_routing() {
    auto netlink = Rtnetlink::open();
    if (!netlink) return netlink.error();
    Mended mended;
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !kernel_has_ipv6()) continue;
        if (auto done = put_route(*netlink, family, mended); !done) return done.error();
        if (auto done = put_rule(*netlink, family, mended); !done) return done.error();
    }
    return mended;
}

Result<Mended> put_redirect(const Tables& tables, const RulesOfPod& pod) {
    auto mended = put_routing();
    if (!mended) return mended;
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !kernel_has_ipv6()) continue;
        if (auto done = put_tables(tables, family, pod, *mended); !done) return done.error();
    }
    return mended;
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
