// SPDX-License-Identifier: Apache-2.0
// HTTP/2's flow control, for a connection and for each of its streams (RFC 9113 section 5.2).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace culvert::hbone {

inline constexpr std::int64_t largest_window = 0x7fff'ffff;
inline constexpr std::uint32_t first_window = 65'535;  // until SETTINGS or WINDOW_UPDATE say otherwise

// What the peer may send us.
class InWindow {
public:
    explicit InWindow(std::uint32_t size) noexcept : size_{size} {}

    // False: more than it may. A window of ours that is smaller than the first one is not known to it from the start.
    bool take(std::size_t bytes) noexcept {
        held_ += static_cast<std::uint32_t>(bytes);
        return held_ + owed_ <= std::max(size_, first_window);
    }
    // Returns what is to be announced now: nothing until it is half of the window.
    std::uint32_t give_back(std::size_t bytes) noexcept {
        held_ -= static_cast<std::uint32_t>(bytes);
        owed_ += static_cast<std::uint32_t>(bytes);
        return owed_ < size_ / 2 ? 0 : std::exchange(owed_, 0);
    }
    std::size_t used() const noexcept { return std::size_t{held_} + owed_; }
    std::size_t size() const noexcept { return size_; }

private:
    std::uint32_t size_;
    std::uint32_t held_ = 0;  // received, and not taken by an app
    std::uint32_t owed_ = 0;  // taken, and not announced
};

// What we may send it. Below zero when the peer has made its streams' windows smaller.
class OutWindow {
public:
    explicit OutWindow(std::uint32_t size) noexcept : left_{static_cast<std::int32_t>(size)} {}

    bool open() const noexcept { return left_ > 0; }
    std::size_t left() const noexcept { return left_ > 0 ? static_cast<std::size_t>(left_) : 0; }
    void spend(std::size_t bytes) noexcept { left_ -= static_cast<std::int32_t>(bytes); }
    // False: more than there can be.
    bool change(std::int64_t by) noexcept {
        if (left_ + by > largest_window) return false;
        left_ += static_cast<std::int32_t>(by);
        return true;
    }

private:
    std::int32_t left_;
};

}
