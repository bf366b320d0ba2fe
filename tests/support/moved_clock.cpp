// SPDX-License-Identifier: Apache-2.0
// Preloaded into a daemon under test, never part of one: its wall clock is the machine's and some seconds that the test
// chooses. The steady clocks are as they are, as when somebody sets the time. OpenSSL, too, looks here what time it is.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>

#include "moved_clock.hpp"

namespace {

using culvert::test::ClockOrders;

const ClockOrders* find_orders() {
    const char* path = ::getenv("CULVERT_CLOCK_ORDERS");
    const int file = path ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return nullptr;
    void* at = ::mmap(nullptr, sizeof(ClockOrders), PROT_READ, MAP_SHARED, file, 0);
    ::close(file);
    return at == MAP_FAILED ? nullptr : static_cast<const ClockOrders*>(at);
}

std::time_t moved_by() {
    static const ClockOrders* const orders = find_orders();
    if (!orders) return 0;
    for (const auto& each : orders->moved)
        if (each.daemon.load(std::memory_order_relaxed) == ::getpid())
            return each.seconds.load(std::memory_order_relaxed);
    return 0;
}

}

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
    const long failed = ::syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += moved_by();
    return static_cast<int>(failed);
}

int gettimeofday(timeval* now, void*) noexcept {
    timespec exact{};
    const int failed = clock_gettime(CLOCK_REALTIME, &exact);
    *now = {exact.tv_sec, exact.tv_nsec / 1000};
    return failed;
}

std::time_t time(std::time_t* also) noexcept {
    timespec exact{};
    clock_gettime(CLOCK_REALTIME, &exact);
    if (also) *also = exact.tv_sec;
    return exact.tv_sec;
}
}
