// SPDX-License-Identifier: Apache-2.0
// Delays that double.
#pragma once
#include <chrono>
#include <random>

namespace culvert::zds {

class Backoff {
public:
    using Delay = std::chrono::microseconds;
    // A spread of 0.2: each a fifth more or less.
    Backoff(Delay first, Delay longest, double spread = 0) : first_{first}, longest_{longest}, spread_{spread} {}

    Delay next();
    void reset() noexcept { delay_ = Delay{0}; }

private:
    Delay first_;
    Delay longest_;
    double spread_;
    Delay delay_{0};
    std::minstd_rand random_{std::random_device{}()};
};

}
