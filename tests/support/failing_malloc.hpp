// SPDX-License-Identifier: Apache-2.0
// What a test tells the allocator of a daemon, through a file that both have mapped (CULVERT_MALLOC_ORDERS).
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace culvert::test {

struct MallocOrders {
    std::atomic<pid_t> armed_for{0};  // the daemon; 0: nobody's
    std::atomic<std::uint64_t> first{0};
    std::atomic<std::uint64_t> burst{0};
    std::atomic<std::uint64_t> seen{0};
    std::atomic<std::uint64_t> failed{0};
};

}
