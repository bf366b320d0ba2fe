// SPDX-License-Identifier: Apache-2.0
#include "schedule.hpp"

#include <algorithm>

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto shortest_life = 500ms;  // a root in its last seconds must not make us spin
constexpr double spread = 0.05;        // of half a life, so that a node's certificates do not stay in step
constexpr auto first_wait = 1s;        // ztunnel's backoff: 1 s, doubled, at most 150 s, each +-20 %
constexpr auto longest_wait = 150s;
constexpr double wait_spread = 0.2;

}

bool Schedule::Item::is_due(const Now& now) const {
    if (asked != 0) return false;
    if (now.steady >= due) return true;
    if (failing) return false;  // then the wait decides
    return now.wall >= renew_at || now.wall < not_before;
}

bool Schedule::has_room(Urgency urgency) const noexcept {
    return under_way_ < (urgency == Urgency::waited_for ? most_at_a_time : most_at_a_time - kept_for_who_waits);
}

void Schedule::add(const state::Identity& identity, const Now& now) {
    Item item;
    item.due = now.steady;
    item.next_wait = first_wait;
    items_.emplace(identity, item);
}

void Schedule::remove(const state::Identity& identity) {
    items_.erase(identity);
}

std::optional<Schedule::Ticket> Schedule::take(const Now& now) {
    auto best = items_.end();
    for (auto it = items_.begin(); it != items_.end(); ++it) {
        const Item& item = it->second;
        if (!item.is_due(now) || !has_room(item.urgency)) continue;
        if (best == items_.end() || item.urgency > best->second.urgency ||
            (item.urgency == best->second.urgency && item.due < best->second.due))
            best = it;
    }
    if (best == items_.end()) return std::nullopt;
    ++under_way_;
    best->second.asked = ++last_number_;
    return Ticket{best->first, last_number_};
}

bool Schedule::answered(const Ticket& ticket) {
    --under_way_;
    auto found = items_.find(ticket.identity);
    if (found == items_.end() || found->second.asked != ticket.number) return false;
    found->second.asked = 0;
    return true;
}

void Schedule::issued(const state::Identity& identity, const Now& now, const Credentials& certificate) {
    Item& item = items_.at(identity);
    // Half of what is left, not of the whole validity: that one begins two minutes ago.
    auto half = std::max<SystemTime::duration>((certificate.not_after - now.wall) / 2, shortest_life);
    auto wait = std::chrono::duration_cast<milliseconds>(half * random(1, 1 + spread));
    item.urgency = Urgency::refresh;
    item.due = now.steady + wait;
    item.renew_at = now.wall + wait;
    // By a clock that is behind the CA's, one that has just been made has yet to begin, and so would the next.
    item.not_before = std::min<SystemTime>(certificate.not_before, now.wall);
    item.next_wait = first_wait;
    item.failing = false;
}

Steady::duration Schedule::failed(const state::Identity& identity, const Now& now,
                                  std::optional<SystemTime> good_until) {
    Item& item = items_.at(identity);
    Steady::duration wait =
        std::chrono::duration_cast<milliseconds>(item.next_wait * random(1 - wait_spread, 1 + wait_spread));
    wait = std::min<Steady::duration>(wait, longest_wait);
    if (good_until && *good_until > now.wall) wait = std::min<Steady::duration>(wait, *good_until - now.wall);
    item.next_wait = std::min<Steady::duration>(2 * item.next_wait, longest_wait);
    item.due = now.steady + wait;
    item.failing = true;
    return wait;
}

void Schedule::raise(const state::Identity& identity, const Now& now) {
    auto found = items_.find(identity);
    if (found == items_.end()) return;
    found->second.urgency = Urgency::waited_for;
    if (!found->second.failing) found->second.due = std::min(found->second.due, now.steady);
}

void Schedule::renew_all(const Now& now, Steady::duration within) {
    for (auto& [identity, item] : items_) {
        if (item.failing) continue;
        auto wait = std::chrono::duration_cast<Steady::duration>(within * random(0, 1));
        item.due = std::min(item.due, now.steady + wait);
    }
}

std::optional<Steady::time_point> Schedule::next(const Now& now) const {
    std::optional<Steady::time_point> first;
    for (const auto& [identity, item] : items_)
        if (item.asked == 0 && item.due > now.steady && (!first || item.due < *first)) first = item.due;
    return first;
}

}
