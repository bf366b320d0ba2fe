// SPDX-License-Identifier: Apache-2.0
#include "spare_memory.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <utility>

namespace culvert::node {
namespace {

using namespace std::chrono_literals;

constexpr auto between_looks = 5s;
constexpr auto between_tries_under_load = 30s;
constexpr std::size_t worthwhile = 256 * 1024;
constexpr std::size_t worth_a_pause = 8 * 1024 * 1024;

// What the process has in memory that comes from no file, in bytes: proc(5), /proc/pid/statm. 0 where nobody says.
std::size_t anonymous_memory() {
    std::ifstream statm{"/proc/self/statm"};
    std::size_t size = 0, resident = 0, of_files = 0;
    statm >> size >> resident >> of_files;
    return statm ? (resident - std::min(resident, of_files)) * static_cast<std::size_t>(::getpagesize()) : 0;
}

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

// Measured by what is resident: malloc counts pages that were given back, and those that came again, as free alike.
void SpareMemory::look() {
    std::size_t now = anonymous_memory();
    left_ = std::min(left_, now);
    ++looks_;
    bool under_load = !quiet();
    if (now - left_ < (under_load ? worth_a_pause : worthwhile)) return;
    if (under_load && looks_ < between_tries_under_load / between_looks) return;
    give_back();
}

void SpareMemory::give_back() {
    ::malloc_trim(0);
    left_ = anonymous_memory();
    looks_ = 0;
    busiest_ = 0ns;
}

}
