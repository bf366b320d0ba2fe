// SPDX-License-Identifier: Apache-2.0
// Policies and connections made by chance: the compiled form and the rules as they are written must agree.
#include <doctest/doctest.h>

#include <culvert/base/log.hpp>

#include "chance.hpp"
#include "reference.hpp"

using namespace culvert;
using namespace culvert::policy;
using namespace culvert::policy::chance;

TEST_CASE("decisions: a hundred thousand of them are what the rules say, one after the other") {
    base::log::configure(base::log::Level::off, base::log::Format::text);  // policies that nobody has, by the hundred
    std::size_t verdicts[3] = {};
    std::size_t disagreements = 0;
    for (std::uint32_t seed = 0; seed < 4000; ++seed) {
        Chance chance{seed};
        const auto all = policies(chance);
        const auto own = workload(chance, all);
        const Unknown unknown = static_cast<Unknown>(chance.below(2));
        Ledger ledger{1};
        const Set set{state::Snapshot{{own}, {}}, all, ledger, unknown};
        const Compiled nothing;
        const Compiled* of = set.of("w");
        const Compiled& compiled = of ? *of : nothing;
        for (int i = 0; i < 25; ++i) {
            const state::Identity peer = chance.identity();
            const Connection c{chance.ip(), {chance.ip(), chance.port()}, chance.one_in(3) ? nullptr : &peer};
            const auto wanted = reference::decide(all, own, c, unknown);
            const auto got = decide(compiled, c);
            std::set<std::string> dry_runs;
            std::size_t told = 0;
            compiled.for_each_dry_run(c, [&](const Named& named) {
                dry_runs.insert(named.key);
                ++told;
            });
            ++verdicts[static_cast<std::size_t>(wanted.verdict)];
            const bool agree = got.verdict == wanted.verdict && (got.by != nullptr) == !wanted.by.empty() &&
                               (!got.by || wanted.by.contains(got.by->key)) && dry_runs == wanted.dry_runs &&
                               told == dry_runs.size();
            if (!agree && ++disagreements <= 5) {
                CAPTURE(seed);
                CAPTURE(i);
                CHECK(static_cast<int>(got.verdict) == static_cast<int>(wanted.verdict));
                CHECK(dry_runs == wanted.dry_runs);
                FAIL_CHECK("the two disagree");
            }
        }
    }
    CHECK(disagreements == 0);
    // Each verdict is met often, or nothing was shown.
    for (std::size_t count : verdicts) CHECK(count > 5'000);
}
