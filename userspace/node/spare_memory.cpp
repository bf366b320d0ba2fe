// SPDX-License-Identifier: Apache-2.0
#include "spare_memory.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <utility>

namespace culvert::node {
namespace {

using namespace std::chrono_literals;

constexpr auto between_looks = 5s;
constexpr auto between_tries_under_load = 30s;
constexpr std::int64_t worthwhile = 256 * 1024;
constexpr std::int64_t worth_a_pause = 512 * 1024;

// A backlog of a reader that stalls, not what a tunnel seals at once: that is 290 KB at most and comes all the time.
constexpr int large_block = 1024 * 1024;
constexpr int most_kept_on_top = 512 * 1024;

// What the process has in memory that comes from no file and is no block in use, in bytes: proc(5), /proc/pid/statm.
// Stacks and tables of libraries are in it, too. By what is resident: malloc counts pages that were given back, and
// those that came again, as free alike. 0 where nobody says.
std::int64_t unused_memory() {
    std::ifstream statm{"/proc/self/statm"};
    std::int64_t size = 0, resident = 0, of_files = 0;
    statm >> size >> resident >> of_files;
    if (!statm) return 0;
    const auto blocks = ::mallinfo2();
    return (resident - of_files) * ::getpagesize() - static_cast<std::int64_t>(blocks.uordblks + blocks.hblkhd);
}

std::chrono::nanoseconds cpu_of_this_process() {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
}

}

// Left alone, the C library learns from large blocks that are freed to keep more: a few stalled readers, and each
// thread would keep megabytes on top of its heap, which malloc_trim() does not reach.
SpareMemory::SpareMemory(boost::asio::io_context& io) : timer_{io} {
    ::mallopt(M_MMAP_THRESHOLD, large_block);
    ::mallopt(M_TRIM_THRESHOLD, most_kept_on_top);
    look_later();
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
    const std::int64_t now = unused_memory();
    left_ = std::min(left_, now);
    ++looks_;
    bool under_load = !quiet();
    if (now - left_ < (under_load ? worth_a_pause : worthwhile)) return;
    if (under_load && looks_ < between_tries_under_load / between_looks) return;
    give_back();
}

void SpareMemory::give_back() {
    ::malloc_trim(0);
    left_ = unused_memory();
    looks_ = 0;
    busiest_ = 0ns;
}

}
