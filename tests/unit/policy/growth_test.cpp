// SPDX-License-Identifier: Apache-2.0
// Policies that cannot apply to a connection take none of its time, also when they are about its workload.
#include <doctest/doctest.h>

#include <time.h>

#include <algorithm>

#include <culvert/policy/set.hpp>

using namespace culvert;
using namespace culvert::policy;

namespace {

// ztunnel's own bench: that many policies with ten rules each, by principal and by source.
std::vector<Policy> policies(int count) {
    std::vector<Policy> all;
    for (int i = 0; i < count; ++i) {
        Policy p{.name = "p" + std::to_string(i), .namespace_ = "ns", .scope = Scope::of_namespace};
        for (int rule = 0; rule < 10; ++rule) {
            Match who, where;
            who.principals = {{Form::exact, "td/ns/other/sa/a" + std::to_string(i * 10 + rule)}};
            where.source_ips = {*state::Cidr::parse("10." + std::to_string(i % 250) + ".0.0/16")};
            where.destination_ports = {80};
            p.rules.push_back({{rule % 2 == 0 ? who : where}});
        }
        all.push_back(std::move(p));
    }
    return all;
}

double cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double ns_per_decision(const Set& set) {
    const state::Identity peer{"td", "shop", "cart"};
    const Connection connection{*base::IpAddress::parse("192.168.1.1"), *base::SocketAddress::parse("10.0.0.1:80"),
                                &peer};
    constexpr int rounds = 20, each = 2000;
    double best = 1e12;
    for (int round = 0; round < rounds; ++round) {
        const double began = cpu_ns();
        for (int i = 0; i < each; ++i)
            if (!decide(*set.of("w"), connection).allowed()) return -1;
        best = std::min(best, (cpu_ns() - began) / each);
    }
    return best;
}

}

TEST_CASE("decisions: ten thousand policies of ten rules cost a connection that they do not concern nothing") {
    state::Workload own;
    own.uid = "w";
    own.namespace_ = "ns";
    const state::Snapshot mesh{{own}, {}};
    Ledger ledger{1};
    const double few = ns_per_decision({mesh, policies(10), ledger, Unknown::deny});
    const double many = ns_per_decision({mesh, policies(10'000), ledger, Unknown::deny});
    MESSAGE("a decision takes " << few << " ns with 10 policies, " << many << " ns with 10 000");
    CHECK(few > 0);
    CHECK(many > 0);
    // Asked one by one they take a millisecond. Sanitizers and unoptimised builds are slow.
    CHECK(many < 20'000);
}
