// SPDX-License-Identifier: Apache-2.0
// How many frames a peer may send that carry nothing: so many a second, and saved up for ten.
//
// Looks at the clock only when what was saved up is spent.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace culvert::hbone {

class FrameBudget {
public:
    using Clock = std::chrono::steady_clock;
    explicit FrameBudget(std::uint32_t per_second) noexcept
        : per_second_{per_second}, left_{most()}, full_at_{Clock::now()} {}

    // False: it has no more.
    bool take() noexcept {
        if (left_ == 0) refill();
        return left_ > 0 && left_-- > 0;
    }
    // What we sent gives the peer something to answer.
    void earn(std::uint32_t frames) noexcept { left_ = std::min(most(), left_ + frames); }

private:
    static constexpr std::uint32_t seconds = 10;
    std::uint32_t most() const noexcept { return per_second_ * seconds; }
    void refill() noexcept {
        auto now = Clock::now();
        auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - full_at_).count();
        auto earned = static_cast<std::uint64_t>(passed) * per_second_ / 1000;
        left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(earned, most()));
        if (left_ > 0) full_at_ = now;
    }

    std::uint32_t per_second_;
    std::uint32_t left_;
    Clock::time_point full_at_;
};

}
