// SPDX-License-Identifier: Apache-2.0
// When the certificate of each identity is asked for, and which goes first. Reads no clock and asks nobody.
//
//   add() -> due at once -> take() -> answered() -> issued(): due at half of its life
//                                              \-> failed(): due after a wait that doubles
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>

#include <culvert/tls/credentials.hpp>

namespace culvert::tls {

using Steady = std::chrono::steady_clock;

// The one tells when a certificate ends, but may jump; the other does not.
struct Now {
    SystemTime wall;
    Steady::time_point steady;
    static Now read() { return {std::chrono::system_clock::now(), Steady::now()}; }
};

enum class Urgency { refresh, prefetch, waited_for };

class Schedule {
public:
    static constexpr std::size_t most_at_a_time = 8;
    static constexpr std::size_t kept_for_who_waits = 1;  // of those

    // Names one request: its identity may go, and come back, before the answer does.
    struct Ticket {
        state::Identity identity;
        std::uint64_t number;
    };

    explicit Schedule(std::uint32_t seed) : generator_{seed} {}

    void add(const state::Identity& identity, const Now& now);
    void remove(const state::Identity& identity);

    // The most urgent one that is due, if there may be one more request; it counts as asked for from now on.
    std::optional<Ticket> take(const Now& now);
    // Its request has been answered, one way or the other. False: nobody wants the answer any more.
    bool answered(const Ticket& ticket);
    // Then one of these.
    void issued(const state::Identity& identity, const Now& now, const Credentials& certificate);
    // The wait until the next try. `good_until`: of a certificate that can be used meanwhile.
    Steady::duration failed(const state::Identity& identity, const Now& now, std::optional<SystemTime> good_until);

    // A connection waits for it. It goes before others; a wait after a failure is not made shorter.
    void raise(const state::Identity& identity, const Now& now);
    // All are asked for again, spread over this time.
    void renew_all(const Now& now, Steady::duration within);

    // When take() may have something that it has not now, unless an answer comes before.
    std::optional<Steady::time_point> next(const Now& now) const;
    Steady::time_point next_try(const state::Identity& identity) const { return items_.at(identity).due; }
    std::size_t under_way() const noexcept { return under_way_; }

private:
    struct Item {
        Urgency urgency = Urgency::prefetch;
        Steady::time_point due;
        SystemTime renew_at = SystemTime::max();  // the same by the wall clock, where there is a certificate
        SystemTime not_before = SystemTime::min();
        Steady::duration next_wait;
        bool failing = false;
        std::uint64_t asked = 0;  // the number of its request, while that is under way

        bool is_due(const Now& now) const;
    };
    bool has_room(Urgency urgency) const noexcept;
    double random(double from, double to) { return std::uniform_real_distribution<>{from, to}(generator_); }

    std::map<state::Identity, Item> items_;
    std::size_t under_way_ = 0;
    std::uint64_t last_number_ = 0;
    std::minstd_rand generator_;
};

}
