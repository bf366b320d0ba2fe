// SPDX-License-Identifier: Apache-2.0
#include "spare_memory.hpp"

#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace culvert::node {
namespace {

using namespace std::chrono_literals;

constexpr auto between_looks = 5s;
constexpr std::size_t worthwhile = 256 * 1024;

std::chrono::nanoseconds cpu_of_this_process() {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
}

}

void SpareMemory::look_later() {
    timer_.expires_after(between_looks);
    timer_.async_wait([this](boost::system::error_code cancelled) {
        if (cancelled) return;
        look();
        look_later();
    });
}

// Hardly any load, or much less than there was.
bool SpareMemory::quiet() {
    auto now = cpu_of_this_process();
    auto spent = now - std::exchange(used_, now);
    busiest_ = std::max(busiest_, spent);
    return spent < between_looks / 20 || spent < busiest_ / 4;
}

void SpareMemory::look() {
    if (!quiet()) return;
    std::size_t free = ::mallinfo2().fordblks;
    given_back_ = std::min(given_back_, free);  // some of it is in use again
    if (free - given_back_ < worthwhile) return;
    ::malloc_trim(0);
    given_back_ = free;
    busiest_ = 0ns;
}

}
