// SPDX-License-Identifier: Apache-2.0
// Stopping a process where it stands.
#pragma once
#include <sys/types.h>

namespace culvert::test {

// Stops every thread of it, and returns when they have stopped: a signal alone does that a moment later. SIGCONT lets
// them go on.
void pause(pid_t process);

}
