// SPDX-License-Identifier: Apache-2.0
#include "cpu.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <charconv>

#include <culvert/base/fd.hpp>

#include <fmt/format.h>

namespace culvert::load {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end == text.data()) return std::nullopt;
    return value;
}

// The next line, and the next word of one, taken off the front.
std::string_view take(std::string_view& text, std::string_view separators) {
    const std::size_t begin = text.find_first_not_of(separators);
    if (begin == text.npos) {
        text = {};
        return {};
    }
    text.remove_prefix(begin);
    const std::string_view taken = text.substr(0, text.find_first_of(separators));
    text.remove_prefix(taken.size());
    return taken;
}

std::optional<std::uint64_t> field(std::string_view line, int index) {
    std::string_view word;
    for (int i = 0; i <= index; ++i) word = take(line, " ");
    return number(word);
}

std::optional<std::string> contents(const std::string& path) {
    const base::Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return std::nullopt;
    std::string text(1 << 16, '\0');
    std::size_t got = 0;
    for (;;) {
        const ssize_t n = ::read(file.get(), text.data() + got, text.size() - got);
        if (n < 0) return std::nullopt;
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
        if (got == text.size()) text.resize(2 * got);
    }
    text.resize(got);
    return text;
}

// The threads that are there now: for a kernel that will not show us another process's clock.
std::optional<std::uint64_t> cpu_of_threads(pid_t pid) {
    const std::string folder = fmt::format("/proc/{}/task", pid);
    const base::Handle<DIR, ::closedir> tasks{::opendir(folder.c_str())};
    if (!tasks) return std::nullopt;
    std::uint64_t sum = 0;
    while (const dirent* entry = ::readdir(tasks.get())) {
        if (entry->d_name[0] == '.') continue;
        const auto text = contents(fmt::format("{}/{}/schedstat", folder, entry->d_name));
        if (text) sum += parse_task_schedstat(*text).value_or(0);
    }
    return sum;
}

std::optional<std::uint64_t> clock_of(clockid_t clock) {
    timespec time{};
    if (::clock_gettime(clock, &time) != 0) return std::nullopt;
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

}

std::optional<std::uint64_t> parse_task_schedstat(std::string_view text) {
    return field(text, 0);
}

std::optional<std::uint64_t> parse_machine_schedstat(std::string_view text) {
    std::optional<std::uint64_t> sum;
    while (!text.empty()) {
        const std::string_view line = take(text, "\n");
        if (!line.starts_with("cpu")) continue;
        const auto ran = field(line, 7);
        if (!ran) return std::nullopt;
        sum = sum.value_or(0) + *ran;
    }
    return sum;
}

std::optional<std::uint64_t> parse_idle(std::string_view text, long ticks_per_second) {
    std::string_view line = take(text, "\n");
    if (take(line, " ") != "cpu" || ticks_per_second <= 0) return std::nullopt;
    for (int i = 0; i < 3; ++i) take(line, " ");  // user, nice, system
    const auto idle = number(take(line, " "));
    const auto waiting = number(take(line, " "));
    if (!idle || !waiting) return std::nullopt;
    return (*idle + *waiting) * (1'000'000'000 / static_cast<std::uint64_t>(ticks_per_second));
}

std::optional<std::uint64_t> cpu_of(pid_t pid) {
    clockid_t clock{};
    if (::clock_getcpuclockid(pid, &clock) == 0) {
        if (const auto time = clock_of(clock)) return time;
    }
    return cpu_of_threads(pid);
}

std::optional<std::uint64_t> cpu_of_machine() {
    if (const auto text = contents("/proc/schedstat")) return parse_machine_schedstat(*text);
    for (const char* path : {"/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"}) {
        if (const auto text = contents(path)) return number(*text);
    }
    const auto text = contents("/proc/stat");
    const auto idle = text ? parse_idle(*text, ::sysconf(_SC_CLK_TCK)) : std::nullopt;
    const auto up = clock_of(CLOCK_MONOTONIC);
    if (!idle || !up) return std::nullopt;
    return *up * static_cast<std::uint64_t>(::sysconf(_SC_NPROCESSORS_ONLN)) - *idle;
}

CpuReading read_cpu(const std::vector<pid_t>& pids) {
    CpuReading reading;
    for (const pid_t pid : pids) {
        if (const auto time = cpu_of(pid)) {
            reading.by_pid[pid] = *time;
        } else {
            reading.gone.push_back(pid);
        }
    }
    reading.machine = cpu_of_machine();
    reading.self = clock_of(CLOCK_PROCESS_CPUTIME_ID).value_or(0);
    return reading;
}

}
