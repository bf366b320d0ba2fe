// SPDX-License-Identifier: Apache-2.0
// Inbound connections that policies may end while they live: asked when they come, and again after each change.
//
// Lives on: one worker.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include <culvert/base/task.hpp>
#include <culvert/telemetry/connection_record.hpp>

namespace culvert::proxy {

struct Context;
class Cuttable;

inline constexpr std::string_view policy_change = "connection closed due to policy change";

class Enforced : public base::AutoListHook {
public:
    // Borrows the record, in which source, destination, workload and identity are known before begin().
    explicit Enforced(telemetry::ConnectionRecord& record) noexcept : record_{record} {}
    Enforced(const Enforced&) = delete;
    Enforced& operator=(const Enforced&) = delete;

    // Listed before it is asked for the first time, so that no change is missed. Why it is refused, if it is; unless
    // waits(): then decided() says so.
    std::optional<std::string> begin(Context& context, std::uint16_t app_port);
    // A policy that the workload names is still to come, and until then this is refused.
    bool waits() const noexcept { return waits_; }
    base::Task<std::optional<std::string>> decided(Context& context);
    // From now on there is something to cut.
    void flows(Cuttable* flow) noexcept { flow_ = flow; }
    // It was refused while nothing flowed yet; the record says so.
    bool is_cut() const noexcept { return cut_; }

private:
    friend class EnforcedConnections;
    void ask(Context& context);
    std::optional<std::string> decide_first(Context& context, bool may_wait);

    telemetry::ConnectionRecord& record_;
    Cuttable* flow_ = nullptr;  // while it waits: who does
    std::uint16_t app_port_ = 0;
    bool waits_ = false;
    bool cut_ = false;
};

class EnforcedConnections {
public:
    void add(Enforced& connection) noexcept { asked_.push_back(connection); }
    // All of them are to be asked; a walk that is under way begins anew.
    void ask_again() noexcept { to_ask_.splice(to_ask_.end(), asked_); }
    // Asks so many. True: there are more.
    bool ask_some(Context& context, int most);

private:
    using List = base::intrusive::list<Enforced, base::intrusive::constant_time_size<false>>;
    List asked_;
    List to_ask_;
};

}
