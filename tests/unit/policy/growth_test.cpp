// SPDX-License-Identifier: Apache-2.0
// Policies that cannot apply to a connection take none of its time, also when they are about its workload.
#include <doctest/doctest.h>

#include <time.h>

#include <algorithm>

#include "../../load/many_policies.hpp"

using namespace culvert;
using namespace culvert::policy;

namespace {

double cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double ns_per_decision(const Set& set) {
    constexpr int rounds = 20, each = 2000;
    double best = 1e12;
    for (int round = 0; round < rounds; ++round) {
        const double began = cpu_ns();
        for (int i = 0; i < each; ++i)
            if (!decide(*set.of("w"), load::from_shopper).allowed()) return -1;
        best = std::min(best, (cpu_ns() - began) / each);
    }
    return best;
}

}

TEST_CASE("decisions: ten thousand policies of ten rules cost a connection that they do not concern nothing") {
    const state::Snapshot mesh = load::mesh_of_one();
    Ledger ledger{1};
    const double few = ns_per_decision({mesh, load::many_policies(10), ledger, Unknown::deny});
    const double many = ns_per_decision({mesh, load::many_policies(10'000), ledger, Unknown::deny});
    MESSAGE("a decision takes " << few << " ns with 10 policies, " << many << " ns with 10 000");
    CHECK(few > 0);
    CHECK(many > 0);
    // Asked one by one they take a millisecond. Sanitizers and unoptimised builds are slow.
    CHECK(many < 20'000);
}
