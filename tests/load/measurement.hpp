// SPDX-License-Identifier: Apache-2.0
// What was done in the time that counts, and what it cost.
#pragma once
#include <ctime>

#include <cstdint>
#include <string>

#include "cpu.hpp"
#include "histogram.hpp"
#include "options.hpp"

namespace culvert::load {

inline std::uint64_t now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

class Measurement {
public:
    explicit Measurement(const Options& options);

    // Warms up, counts, is over; or counts from now on until end().
    void begin();
    void begin_counting();
    void end();

    // Asked after each operation, before it is noted: no new one when false.
    bool goes_on(std::uint64_t time) noexcept { return time < edge_ || pass_edge(); }
    bool is_over() const noexcept { return over_; }

    void op(std::uint64_t nanoseconds, std::uint64_t bytes) noexcept {
        latencies_.add(nanoseconds);
        ops_ += 1;
        bytes_ += bytes;
    }
    void written(std::uint64_t bytes) noexcept {
        ops_ += 1;
        bytes_ += bytes;
    }
    void failure(const base::Error& error);
    // A further member of the JSON object: its value is JSON.
    void note(const std::string& name, const std::string& value);

    std::uint64_t errors() const noexcept { return errors_; }

    // Prints it all; the exit status.
    int report();

private:
    bool pass_edge() noexcept;
    std::string cpu_members() const;

    const Options& options_;
    Histogram latencies_;
    std::uint64_t ops_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t errors_ = 0;
    std::string first_error_;
    std::string notes_;
    std::uint64_t edge_ = 0;
    std::uint64_t began_ = 0;
    std::uint64_t ended_ = 0;
    bool counting_ = false;
    bool over_ = false;
    CpuReading before_;
    CpuReading after_;
};

}
