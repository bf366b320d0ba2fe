// SPDX-License-Identifier: Apache-2.0
#include "cpu.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <thread>

using namespace culvert::load;

namespace {

std::uint64_t thread_cpu() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

void burn(std::uint64_t nanoseconds) {
    while (thread_cpu() < nanoseconds) {
    }
}

}

TEST_SUITE("load") {

TEST_CASE("cpu: a task's schedstat is three numbers, the first is what counts") {
    CHECK(parse_task_schedstat("48793 1201 17\n") == 48793);
    CHECK(parse_task_schedstat("18446744073709551615 0 0") == 18446744073709551615u);
    CHECK_FALSE(parse_task_schedstat("").has_value());
    CHECK_FALSE(parse_task_schedstat("no number").has_value());
}

TEST_CASE("cpu: the machine's schedstat is summed over its CPUs, domains left out") {
    CHECK(parse_machine_schedstat("version 15\ntimestamp 4295\n"
                                  "cpu0 0 0 0 0 0 0 1000 20 3\n"
                                  "domain0 00000003 1 2 3 4 5 6 7 8 9\n"
                                  "cpu1 0 0 0 0 0 0 500 7 8\n") == 1500);
    CHECK_FALSE(parse_machine_schedstat("version 15\ntimestamp 4295\n").has_value());
    CHECK_FALSE(parse_machine_schedstat("cpu0 0 0 0\n").has_value());
}

TEST_CASE("cpu: idle and waiting are columns four and five, in ticks") {
    CHECK(parse_idle("cpu  10 20 30 400 5 6 7 8 0 0\ncpu0 1 2 3 4 5\n", 100) == 405 * 10'000'000ull);
    CHECK_FALSE(parse_idle("cpu  10 20 30\n", 100).has_value());
    CHECK_FALSE(parse_idle("intr 1 2 3 4 5\n", 100).has_value());
}

TEST_CASE("cpu: a process is charged for its threads, those that have ended too") {
    const auto before = cpu_of(::getpid());
    std::thread{burn, 30'000'000}.join();
    const auto after = cpu_of(::getpid());
    REQUIRE(before.has_value());
    REQUIRE(after.has_value());
    CHECK(*after - *before >= 29'000'000);
}

TEST_CASE("cpu: somebody else's process is read as our own, and one that is gone is named") {
    const pid_t child = ::fork();
    if (child == 0) {
        burn(40'000'000);
        ::pause();
        ::_exit(0);
    }
    for (int tries = 0; tries < 500 && cpu_of(child).value_or(0) < 40'000'000; ++tries) ::usleep(10'000);
    CpuReading reading = read_cpu({child});
    CHECK(reading.by_pid[child] >= 40'000'000);
    CHECK(reading.gone.empty());
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    reading = read_cpu({child});
    CHECK(reading.gone == std::vector{child});
}

TEST_CASE("cpu: the machine as a whole has used what we have used, at least") {
    const auto before = cpu_of_machine();
    burn(thread_cpu() + 60'000'000);
    const auto after = cpu_of_machine();
    REQUIRE(before.has_value());
    REQUIRE(after.has_value());
    CHECK(*after - *before >= 40'000'000);
}

}
