// SPDX-License-Identifier: Apache-2.0
// culvert_decide: how long a decision takes, with 10 policies and with 10 000, of which none concerns the connection.
// The last line of stdout is one JSON object, in microseconds; a round is ten thousand decisions.
#include <time.h>

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "many_policies.hpp"

using namespace culvert;

namespace {

double cpu_us() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// Nothing of the policies is in the processor's caches afterwards.
void cool_down() {
    static std::vector<char> other(64 << 20);
    for (std::size_t i = 0; i < other.size(); i += 64) ++other[i];
}

double median(std::vector<double> of) {
    std::ranges::nth_element(of, of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2));
    return of[of.size() / 2];
}

std::string figures(int count) {
    policy::Ledger ledger{1};
    const policy::Set set{load::mesh_of_one(), load::many_policies(count), ledger, policy::Unknown::deny};
    const policy::Compiled& compiled = *set.of("w");
    constexpr int rounds = 51, each = 10'000;
    std::vector<double> warm, cold;
    bool allowed = true;
    for (int round = 0; round < rounds; ++round) {
        cool_down();
        double began = cpu_us();
        allowed = allowed && policy::decide(compiled, load::from_shopper).allowed();
        cold.push_back(cpu_us() - began);
        began = cpu_us();
        for (int i = 0; i < each; ++i) allowed = allowed && policy::decide(compiled, load::from_shopper).allowed();
        warm.push_back((cpu_us() - began) / each);
    }
    if (!allowed) return "";
    return fmt::format(
        R"("policies_{0}_us": {{"median": {1:.4f}, "min": {2:.4f}, "max": {3:.4f}, "rounds": {4}, "unit": "us"}}, )"
        R"("policies_{0}_cold_us": {{"median": {5:.4f}, "min": {6:.4f}, "max": {7:.4f}, "rounds": {4}, "unit": "us"}})",
        count, median(warm), *std::ranges::min_element(warm), *std::ranges::max_element(warm), rounds, median(cold),
        *std::ranges::min_element(cold), *std::ranges::max_element(cold));
}

}

int main() {
    const std::string few = figures(10);
    const std::string many = figures(10'000);
    if (few.empty() || many.empty()) {
        fmt::print(stderr, "culvert_decide: a policy concerned the connection\n");
        return 1;
    }
    fmt::print("{{{}, {}}}\n", few, many);
    return 0;
}
