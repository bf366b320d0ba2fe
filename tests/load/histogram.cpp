// SPDX-License-Identifier: Apache-2.0
#include "histogram.hpp"

#include <algorithm>
#include <cmath>

namespace culvert::load {

std::uint64_t Histogram::middle(std::size_t bucket) noexcept {
    if (bucket < per_octave) return bucket;
    const std::size_t octave = bucket / per_octave;
    const std::uint64_t width = std::uint64_t{1} << (octave - 1);
    return (per_octave + bucket % per_octave) * width + width / 2;
}

std::uint64_t Histogram::percentile(double share) const noexcept {
    if (total_ == 0) return 0;
    const auto rank =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_))));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets; ++i) {
        seen += counts_[i];
        if (seen >= rank) return std::min(middle(i), max_);
    }
    return max_;
}

}
