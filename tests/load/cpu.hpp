// SPDX-License-Identifier: Apache-2.0
// CPU time of processes and of the whole machine, in nanoseconds of the scheduler's own books: nothing here samples.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::load {

// Field 1 of /proc/PID/schedstat and of /proc/PID/task/TID/schedstat: time on a CPU.
std::optional<std::uint64_t> parse_task_schedstat(std::string_view text);

// The sum of field 7 of the cpuN lines of /proc/schedstat: time that tasks ran there.
std::optional<std::uint64_t> parse_machine_schedstat(std::string_view text);

// Idle and waiting for I/O, of the first line of /proc/stat, whose unit is 1/ticks_per_second s. The other columns are
// samples; these two are measured where the tick stops when idle.
std::optional<std::uint64_t> parse_idle(std::string_view text, long ticks_per_second);

// What a process has used since it began: all of its threads, those that have ended too.
std::optional<std::uint64_t> cpu_of(pid_t pid);

// What all tasks of the machine have used. From /proc/schedstat; where the kernel keeps none, from the root of cgroup
// v1's cpuacct; where there is neither, the time in which no CPU was idle, in steps of 10 ms.
std::optional<std::uint64_t> cpu_of_machine();

struct CpuReading {
    std::map<pid_t, std::uint64_t> by_pid;
    std::uint64_t self = 0;
    std::optional<std::uint64_t> machine;
    std::vector<pid_t> gone;  // asked for, and not there
};
CpuReading read_cpu(const std::vector<pid_t>& pids);

}
