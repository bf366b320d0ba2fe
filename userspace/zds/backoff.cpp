// SPDX-License-Identifier: Apache-2.0
#include "backoff.hpp"

#include <algorithm>

namespace culvert::zds {

Backoff::Delay Backoff::next() {
    delay_ = delay_ == Delay{0} ? first_ : std::min(delay_ * 2, longest_);
    std::uniform_real_distribution<double> factor{1 - spread_, 1 + spread_};
    return std::chrono::duration_cast<Delay>(delay_ * factor(random_));
}

}
