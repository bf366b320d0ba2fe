// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

#include <signal.h>
#include <sys/time.h>

namespace culvert::load {
namespace {

constexpr int every_s = 5;

volatile unsigned long happened = 0;
volatile unsigned long seen = 0;
volatile sig_atomic_t stuck = 0;

void on_alarm(int) {
    if (happened == seen) stuck = 1;
    seen = happened;
}

}

void start_watchdog() {
    struct sigaction action {};
    action.sa_handler = on_alarm;  // no SA_RESTART: the wait is to end
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval timer{{every_s, 0}, {every_s, 0}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void stop_watchdog() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
}

void progress() noexcept {
    happened = happened + 1;
}

bool is_stuck() noexcept {
    return stuck != 0;
}

}
