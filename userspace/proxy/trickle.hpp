// SPDX-License-Identifier: Apache-2.0
// An app that writes in drops. Each of them in a DATA frame of its own costs us a record and a send, and the peer more
// memory than it has bytes: Rust's h2 ends the tunnel of who has a hundred such frames waiting
// (`too_many_data_frames`). So the next bytes of such an app are gathered for a moment, as long as nobody answers it: a
// dialogue never waits.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace culvert::proxy {

class Trickle {
public:
    using Clock = std::chrono::steady_clock;
    void heard() noexcept {  // bytes for the app
        drops_ = 0;
        moment_ = shortest;
    }
    void said(std::size_t bytes, Clock::time_point now) noexcept {
        Clock::duration gap = now - std::exchange(last_, now);
        bool stopped = gap > pause + moment_ || bytes >= bulk;
        if (!gathers()) {
            if (stopped)
                drops_ = 0;
            else if (bytes < drop && gap <= quick)
                ++drops_;
        } else if (stopped) {
            drops_ = enough - few;  // at once, then; but it may well go on as before
        } else if (bytes < drop) {
            moment_ = std::min(2 * moment_, longest);
        } else if (bytes >= 4 * drop) {
            moment_ = std::max(moment_ / 2, shortest);
        }
    }
    // What it says next is worth a moment's wait.
    bool gathers() const noexcept { return drops_ == enough; }
    // This long: only as long as it takes to make frames that are large enough.
    std::chrono::microseconds moment() const noexcept { return moment_; }

private:
    static constexpr std::size_t drop = 256;  // a frame that h2 finds too small
    static constexpr std::size_t bulk = 32 * 1024;
    static constexpr std::uint8_t enough = 16;
    static constexpr std::uint8_t few = 2;
    using Short = std::chrono::duration<std::uint32_t, std::micro>;  // every connection has one of these
    static constexpr Short quick{100};                               // who speaks less often makes few frames anyhow
    static constexpr Short pause{10'000};
    static constexpr Short shortest{500};
    static constexpr Short longest{8000};

    Clock::time_point last_{};
    Short moment_ = shortest;
    std::uint8_t drops_ = 0;
};

}
