// SPDX-License-Identifier: Apache-2.0
// How far a test has moved the wall clocks of daemons, in a file that all have mapped (CULVERT_CLOCK_ORDERS).
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace culvert::test {

struct ClockOrders {
    struct {
        std::atomic<pid_t> daemon{0};
        std::atomic<std::int64_t> seconds{0};
    } moved[2];
};

}
