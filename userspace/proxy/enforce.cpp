// SPDX-License-Identifier: Apache-2.0
#include "enforce.hpp"

#include <culvert/base/log.hpp>
#include <culvert/base/shortage.hpp>
#include <culvert/policy/words.hpp>

#include "context.hpp"
#include "pump.hpp"

namespace culvert::proxy {
namespace {

policy::Connection connection_of(const telemetry::OpenEntry& entry, std::uint16_t app_port) noexcept {
    return {entry.source.ip, {entry.destination.ip, app_port}, entry.peer_identity.get()};
}

// Null: all may talk to it. So it is for a workload that is in the mesh no more: its pod leaves, and not for a policy's
// sake. What the workload is subject to now, not when the connection came.
const policy::Compiled* policies_of(const Context& context, const telemetry::OpenEntry& entry) noexcept {
    return context.policies->of(entry.destination_workload->uid);
}

void say_dry_runs(Context& context, const policy::Compiled& compiled, const policy::Connection& connection) {
    bool allows = false;
    compiled.for_each_dry_run(connection, [&](const policy::Named& named) {
        allows = allows || named.policy.action == policy::Action::allow;
        named.hits->add(context.worker);
        base::log::debug("policy", "dry run: {} by {}: {} to {}", to_string(named.policy.action), named.key,
                         connection.source.to_string(), connection.destination.to_string());
    });
    if (!allows && compiled.only_rehearses_allows())
        base::log::debug("policy", "dry run: allow policies exist, but none allowed: {} to {}",
                         connection.source.to_string(), connection.destination.to_string());
}

// A connection has no room for a pointer that it needs once.
struct Waiting final : Cuttable {
    explicit Waiting(base::Event& event) noexcept : decidable{event} {}
    void cut(const base::Error&) override { decidable.set(); }
    base::Event& decidable;
};

void tell_verdict(telemetry::ConnectionRecord& record, const policy::Decision& decision,
                  const policy::Compiled* compiled, const policy::Connection& connection) {
    if (!record.trace()) [[likely]]
        return;
    auto event = record.trace()->event(telemetry::TraceEvent::What::verdict, record.entry);
    if (event) {
        event->destination = connection.destination;
        event->good = decision.allowed();
        base::shortage::guard("a traced event", [&] { event->text = in_words(decision, compiled, connection); });
    }
    if (event) record.trace()->tell(std::move(event));
}

}

std::optional<std::string> Enforced::begin(Context& context, std::uint16_t app_port) {
    app_port_ = app_port;
    context.enforced.add(*this);
    return decide_first(context, true);
}

std::optional<std::string> Enforced::decide_first(Context& context, bool may_wait) {
    waits_ = false;
    const auto* compiled = policies_of(context, record_.entry);
    const auto connection = connection_of(record_.entry, app_port_);
    const auto decision = compiled ? policy::decide(*compiled, connection) : policy::Decision{};
    if (decision.may_change() && may_wait) {
        waits_ = true;
        return std::nullopt;
    }
    tell_verdict(record_, decision, compiled, connection);
    if (compiled && compiled->has_dry_runs()) say_dry_runs(context, *compiled, connection);
    if (decision.by) decision.by->hits->add(context.worker);
    if (decision.allowed()) return std::nullopt;
    return decision.refusal();
}

base::Task<std::optional<std::string>> Enforced::decided(Context& context) {
    base::Event changed{context.loop};
    // The control thread ends the wait; were it busy with something else, this does.
    base::Timer enough{context.loop, [&changed] { changed.set(); }};
    enough.arm(2 * policy::longest_wait);
    Waiting waiting{changed};
    flow_ = &waiting;
    co_await changed;
    flow_ = nullptr;
    co_return decide_first(context, false);
}

void Enforced::ask(Context& context) {
    const auto* compiled = policies_of(context, record_.entry);
    const auto connection = connection_of(record_.entry, app_port_);
    const auto decision = compiled ? policy::decide(*compiled, connection) : policy::Decision{};
    if (decision.may_change()) return;
    if (waits_) return flow_->cut({});
    if (cut_ || decision.allowed() || record_.closed()) return;
    tell_verdict(record_, decision, compiled, connection);
    if (decision.by) decision.by->hits->add(context.worker);
    cut_ = true;
    record_.close(telemetry::CloseReason::policy_changed, std::string{policy_change});
    if (flow_) flow_->cut(base::problem(std::string{policy_change}));
}

bool EnforcedConnections::ask_some(Context& context, int most) {
    for (; most > 0 && !to_ask_.empty(); --most) {
        Enforced& next = to_ask_.front();
        asked_.splice(asked_.end(), to_ask_, to_ask_.begin());
        next.ask(context);
    }
    return !to_ask_.empty();
}

}
