// SPDX-License-Identifier: Apache-2.0
#include "measurement.hpp"

#include <cstdio>
#include <limits>

#include <fmt/format.h>

namespace culvert::load {
namespace {

double seconds(std::uint64_t nanoseconds) {
    return static_cast<double>(nanoseconds) / 1e9;
}
std::uint64_t nanoseconds(double seconds) {
    return static_cast<std::uint64_t>(seconds * 1e9);
}

// A quotient, or null where there is nothing to divide by.
std::string per(double value, double count, const char* format) {
    return count > 0 ? fmt::format(fmt::runtime(format), value / count) : "null";
}

}

Measurement::Measurement(const Options& options) : options_{options} {}

void Measurement::begin() {
    edge_ = now() + nanoseconds(options_.warm);
}

void Measurement::begin_counting() {
    latencies_.clear();
    ops_ = bytes_ = 0;
    counting_ = true;
    edge_ = std::numeric_limits<std::uint64_t>::max();
    before_ = read_cpu(options_.account);
    began_ = now();
}

void Measurement::end() {
    if (over_) return;
    over_ = true;
    ended_ = now();
    after_ = read_cpu(options_.account);
    if (!counting_) began_ = ended_;
}

bool Measurement::pass_edge() noexcept {
    if (over_) return false;
    if (!counting_) {
        begin_counting();
        edge_ = began_ + nanoseconds(options_.seconds);
        return true;
    }
    end();
    return false;
}

void Measurement::failure(const base::Error& error) {
    if (errors_++ == 0) first_error_ = error.to_string();
}

void Measurement::note(const std::string& name, const std::string& value) {
    notes_ += fmt::format(R"(,"{}":{})", name, value);
}

std::string Measurement::cpu_members() const {
    std::uint64_t sum = after_.self - before_.self;
    std::string by_pid;
    for (const auto& [pid, used] : after_.by_pid) {
        const auto before = before_.by_pid.find(pid);
        if (before == before_.by_pid.end()) continue;
        by_pid += fmt::format(R"("{}":{:.6f},)", pid, seconds(used - before->second));
        sum += used - before->second;
    }
    by_pid += fmt::format(R"("self":{:.6f})", seconds(after_.self - before_.self));
    const std::string busy =
        after_.machine && before_.machine ? fmt::format("{:.6f}", seconds(*after_.machine - *before_.machine)) : "null";
    const double cpu = seconds(sum);
    return fmt::format(R"("cpu_us_per_op":{},"cpu_s":{:.6f},"cpu_by_pid":{{{}}},"cpu_s_per_gb":{},"busy_s":{})",
                       per(cpu * 1e6, static_cast<double>(ops_), "{:.4f}"), cpu, by_pid,
                       per(cpu * 1e9, static_cast<double>(bytes_), "{:.5f}"), busy);
}

int Measurement::report() {
    end();
    for (const auto* reading : {&before_, &after_}) {
        for (const pid_t pid : reading->gone) failure(base::problem(fmt::format("process {} is not there", pid)));
    }
    if (counting_ && ops_ == 0 && errors_ == 0) failure(base::problem("nothing was done in the time that counts"));
    const double time = seconds(ended_ - began_);
    const auto latency = [&](std::uint64_t value) {
        return latencies_.total() > 0 ? fmt::format("{:.3f}", static_cast<double>(value) / 1000) : "null";
    };
    fmt::print(R"({{"mode":"{}","ops":{},"bytes":{},"seconds":{:.6f},"p50_us":{},"p99_us":{},"max_us":{},"errors":{},)"
               R"({},"gbit":{}{}}})"
               "\n",
               options_.mode, ops_, bytes_, time, latency(latencies_.percentile(0.5)),
               latency(latencies_.percentile(0.99)), latency(latencies_.max()), errors_, cpu_members(),
               per(static_cast<double>(bytes_) * 8e-9, time, "{:.5f}"), notes_);
    std::fflush(stdout);
    if (errors_ == 0) return 0;
    fmt::print(stderr, "culvert_load {}: {} errors, the first: {}\n", options_.mode, errors_, first_error_);
    return 1;
}

}
