// SPDX-License-Identifier: Apache-2.0
// The certificates of this node's identities as one worker knows them, and the connections that wait for one.
//
//   find(): nothing yet -> wait(): the control thread is told once -> publish() -> the connection goes on
//
// Lives on: one worker. The control thread speaks to it by publish(), it speaks to the control thread by `need`.
#pragma once
#include <cstdint>
#include <map>

#include <culvert/base/task.hpp>
#include <culvert/proxy/worker.hpp>
#include <culvert/telemetry/counters.hpp>
#include <culvert/tls/credentials.hpp>

namespace culvert::proxy {

class OwnCertificates {
public:
    using Need = std::function<void(const state::Identity&)>;
    // All are borrowed.
    OwnCertificates(base::Loop& loop, const Need& need, const Limits& limits, telemetry::WorkerCounters& counters)
        : loop_{loop}, need_{need}, limits_{limits}, counters_{counters} {}

    void publish(tls::CredentialsMapPtr known);

    // One that is good at this moment, or null.
    tls::CredentialsPtr find(const state::Identity& identity) const;
    // The same, if there is one before Limits::connect is over. Fails at once where none can come in time; in the
    // access log's words: "identity error: ...", or "over a limit: ..." when too many wait already.
    base::Task<base::Result<tls::CredentialsPtr>> wait(state::Identity identity);

private:
    using Clock = base::Loop::Clock;
    struct Waiter : base::AutoListHook {
        Waiter(base::Loop& loop, const state::Identity& i, Clock::time_point u) : woken{loop}, identity{i}, until{u} {}
        base::Event woken;
        const state::Identity& identity;
        const Clock::time_point until;
    };
    class Waiting;

    std::string why_none(const state::Identity& identity) const;
    bool may_come(const state::Identity& identity, Clock::time_point before) const;
    const tls::Standing* standing(const state::Identity& identity) const;

    base::Loop& loop_;
    const Need& need_;
    const Limits& limits_;
    telemetry::WorkerCounters& counters_;
    tls::CredentialsMapPtr known_;
    base::intrusive::list<Waiter, base::intrusive::constant_time_size<false>> waiters_;
    std::map<state::Identity, std::uint32_t> waited_for_;  // by how many
};

}
