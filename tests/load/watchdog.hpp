// SPDX-License-Identifier: Apache-2.0
// Ends a wait in which nothing happens, at no cost to the loop that waits: a signal every five seconds.
#pragma once

namespace culvert::load {

// Once for the whole process.
void start_watchdog();
void stop_watchdog();

// Something happened.
void progress() noexcept;

// After EINTR: nothing has happened for five seconds at least, give up.
bool is_stuck() noexcept;

}
