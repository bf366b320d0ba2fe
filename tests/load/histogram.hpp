// SPDX-License-Identifier: Apache-2.0
// Latencies in buckets that grow with the value: 128 to an octave, so that a percentile is off by less than 1 %.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace culvert::load {

class Histogram {
public:
    void add(std::uint64_t nanoseconds) noexcept {
        ++counts_[bucket(nanoseconds)];
        ++total_;
        if (nanoseconds > max_) max_ = nanoseconds;
    }
    void clear() noexcept { *this = {}; }

    std::uint64_t total() const noexcept { return total_; }
    std::uint64_t max() const noexcept { return max_; }
    // The value that the given share of all values does not exceed, 0 < share <= 1; 0 when there is none.
    std::uint64_t percentile(double share) const noexcept;

private:
    static constexpr unsigned exact_bits = 7;  // below 2^7 each value has a bucket of its own
    static constexpr unsigned top_bits = 40;   // 18 minutes; longer ones share the last bucket
    static constexpr std::size_t per_octave = std::size_t{1} << exact_bits;
    static constexpr std::size_t buckets = (top_bits - exact_bits + 1) * per_octave;

    static std::size_t bucket(std::uint64_t value) noexcept {
        if (value < per_octave) return value;
        const unsigned octave = static_cast<unsigned>(std::bit_width(value)) - exact_bits;
        if (octave > top_bits - exact_bits) return buckets - 1;
        return octave * per_octave + (value >> (octave - 1)) - per_octave;
    }
    static std::uint64_t middle(std::size_t bucket) noexcept;

    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

}
