// SPDX-License-Identifier: Apache-2.0
// Follows the pod's network: addresses and interfaces come and go, and what was put around them goes along.
#include "pod.hpp"

#include <algorithm>
#include <cstring>

#include <culvert/base/log.hpp>
#include <culvert/base/netns.hpp>
#include <culvert/bpf/marks.h>

#include "addresses.hpp"

namespace culvert::capture {

using base::Result;

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

// Once for each count: follow() may come twenty times a second.
void Pod::say_too_many_addresses() {
    const std::size_t count = around_.addresses.size();
    if (std::exchange(addresses_, count) == count || count <= addresses_per_pod) return;
    base::log::warn("capture", "{} has {} addresses; connections to those beyond {} are dropped", name_, count,
                    addresses_per_pod);
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
    publish_addresses(node_.programs, cookie_, around_.addresses,
                      installed_ || taken_over_ ? Claim::the_rest : Claim::as_new);
    say_too_many_addresses();
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

}
