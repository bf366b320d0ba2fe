// SPDX-License-Identifier: Apache-2.0
#include "process_metrics.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include <culvert/base/shortage.hpp>

namespace culvert::telemetry {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

void append(std::vector<MetricFamily>& out, const char* name, MetricType type, const char* help,
            std::optional<double> value) {
    if (!value) return;
    prometheus::ClientMetric metric;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = *value;
    out.push_back({name, help, type, {metric}});
}

std::optional<double> open_fds() {
    std::unique_ptr<DIR, int (*)(DIR*)> folder{::opendir("/proc/self/fd"), ::closedir};
    if (!folder) return std::nullopt;
    int count = 0;
    while (::readdir(folder.get())) ++count;
    return count - 3;  // ".", ".." and the descriptor of this very look
}

std::optional<double> max_fds() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
    return static_cast<double>(limit.rlim_cur);
}

std::optional<double> resident_bytes() {
    std::ifstream file{"/proc/self/statm"};
    double total = 0, resident = 0;
    if (!(file >> total >> resident)) return std::nullopt;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::optional<double> cpu_seconds() {
    timespec used{};
    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return std::nullopt;
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

std::optional<double> boot_time() {
    std::ifstream file{"/proc/stat"};
    for (std::string word; file >> word;) {
        double value = 0;
        if (word == "btime" && file >> value) return value;
    }
    return std::nullopt;
}

std::optional<double> start_time() {
    std::ifstream file{"/proc/self/stat"};
    std::string line;
    std::getline(file, line);
    auto name_end = line.rfind(')');  // the name may contain spaces and parentheses
    auto boot = boot_time();
    if (name_end == std::string::npos || !boot) return std::nullopt;
    const char* at = line.c_str() + name_end + 1;
    for (int field = 3; field < 22; ++field)  // proc(5): starttime is field 22, the state after the name is 3
        while (*++at != ' ' && *at) {
        }
    return *boot + std::strtod(at, nullptr) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}

void append_process_metrics(std::vector<MetricFamily>& out) {
    append(out, "process_open_fds", MetricType::Gauge, "Open file descriptors.", open_fds());
    append(out, "process_max_fds", MetricType::Gauge, "File descriptors that may be open.", max_fds());
    append(out, "process_resident_memory_bytes", MetricType::Gauge, "Memory in use, resident.", resident_bytes());
    append(out, "process_cpu_seconds_total", MetricType::Counter, "User and system CPU time used.", cpu_seconds());
    append(out, "culvert_out_of_memory_total", MetricType::Counter,
           "Times that memory could not be had, and something was lost for it.",
           static_cast<double>(base::shortage::count()));
    append(out, "process_start_time_seconds", MetricType::Gauge, "When the process started, in Unix time.",
           start_time());
}

}
