// SPDX-License-Identifier: Apache-2.0
// What can be said of plaintext without knowing more than source and port.
#include <doctest/doctest.h>

#include <culvert/base/log.hpp>
#include <culvert/policy/plaintext.hpp>

#include "chance.hpp"
#include "reference.hpp"

using namespace culvert;
using namespace culvert::policy;

namespace {

constexpr std::size_t room = 32;

state::Cidr range(const char* text) {
    return *state::Cidr::parse(text);
}

Policy one(Action action, std::vector<Match> matches, const char* name = "p") {
    return {
        .name = name, .namespace_ = "ns", .scope = Scope::global, .action = action, .rules = {{std::move(matches)}}};
}

Plaintext of(const std::vector<Policy>& policies, std::size_t most = room) {
    state::Workload w;
    w.uid = "w";
    w.namespace_ = "ns";
    Ledger ledger{1};
    const Set set{state::Snapshot{{w}, {}}, policies, ledger, Unknown::deny};
    return plaintext_of(set.of("w"), most);
}

const Plaintext all{{{range("0.0.0.0/0")}, {range("::/0")}}, true};
const Plaintext nothing{};

// The first that fits, as the kernel goes through it.
bool refuses(const Plaintext& plaintext, const Connection& c) {
    for (const PlaintextRule& rule : plaintext.rules)
        if (rule.source.contains(c.source) && c.destination.port >= rule.from_port &&
            c.destination.port <= rule.to_port)
            return rule.refused;
    return false;
}

Match strict() {
    Match match;
    match.not_principals = {{Form::presence, ""}};
    return match;
}
Match from(const char* source) {
    Match match;
    match.source_ips = {range(source)};
    return match;
}
Match to(std::uint16_t port) {
    Match match;
    match.destination_ports = {port};
    return match;
}
Match shop() {
    Match match;
    match.principals = {{Form::exact, "cluster.local/ns/shop/sa/cart"}};
    return match;
}

}

TEST_CASE("plaintext: STRICT, and an allow policy for identities alone, refuse all of it") {
    CHECK(of({one(Action::deny, {strict()})}) == all);
    CHECK(of({one(Action::allow, {shop()})}) == all);
    CHECK(of({one(Action::deny, {to(80)}), one(Action::deny, {strict()}, "q")}) == all);
    CHECK(of({}) == nothing);
    CHECK(of({one(Action::deny, {shop()})}) == nothing);
    Policy rehearsal = one(Action::deny, {strict()});
    rehearsal.dry_run = true;
    CHECK(of({rehearsal}) == nothing);
    CHECK(of({one(Action::allow, {shop(), strict()})}) == nothing);
}

TEST_CASE("plaintext: ranges and ports become a list whose first that fits says") {
    CHECK(of({one(Action::deny, {from("10.1.2.3/8")})}) == Plaintext{{{range("10.0.0.0/8")}}, true});
    CHECK(of({one(Action::deny, {to(81), to(80), to(90)})}) == Plaintext{{{range("0.0.0.0/0"), 80, 81},
                                                                          {range("0.0.0.0/0"), 90, 90},
                                                                          {range("::/0"), 80, 81},
                                                                          {range("::/0"), 90, 90}},
                                                                         true});
    Match but_one = from("10.0.0.0/8");
    but_one.not_source_ips = {range("10.9.0.0/16")};
    but_one.not_destination_ports = {80};
    CHECK(of({one(Action::deny, {but_one})}) ==
          Plaintext{
              {{range("10.9.0.0/16"), 0, 65535, false}, {range("10.0.0.0/8"), 0, 79}, {range("10.0.0.0/8"), 81, 65535}},
              true});
    CHECK(of({one(Action::allow, {from("10.0.0.0/8"), shop()})}) ==
          Plaintext{{{range("10.0.0.0/8"), 0, 65535, false}, {range("0.0.0.0/0")}, {range("::/0")}}, true});
}

TEST_CASE("plaintext: what asks for a destination address is left to who knows it") {
    Match here = to(80);
    here.destination_ips = {range("10.0.0.2")};
    CHECK(of({one(Action::deny, {here})}) == Plaintext{{}, false});
    const auto denied = of({one(Action::deny, {here}), one(Action::deny, {to(81)}, "q")});
    CHECK_FALSE(denied.whole);
    CHECK(denied.rules.size() == 2);
    const auto allowed = of({one(Action::allow, {here})});
    CHECK_FALSE(allowed.whole);
    CHECK(refuses(allowed, {*base::IpAddress::parse("10.0.0.1"), {{}, 81}, nullptr}));
    CHECK_FALSE(refuses(allowed, {*base::IpAddress::parse("10.0.0.1"), {{}, 80}, nullptr}));
}

TEST_CASE("plaintext: while a policy is waited for that may allow it, only what others deny is refused") {
    state::Workload w;
    w.uid = "w";
    w.authorization_policies = {"ns/later"};
    Ledger ledger{1};
    auto refused_by = [&](const Policy& p) {
        const Set set{state::Snapshot{{w}, {}}, {p}, ledger, Unknown::deny, {"ns/later"}};
        return plaintext_of(set.of("w"), room);
    };
    CHECK(refused_by(one(Action::allow, {shop()})) == Plaintext{{}, false});
    CHECK(refused_by(one(Action::deny, {strict()})) == all);
    const auto port = refused_by(one(Action::deny, {to(80)}));
    CHECK(port.rules.size() == 2);
    CHECK_FALSE(port.whole);
}

TEST_CASE("plaintext: where there is no room, fewer are refused, never more") {
    std::vector<Policy> denies, allows;
    for (int i = 0; i < 40; ++i) {
        const std::string here = "10." + std::to_string(i) + ".0.0/16";
        Match match = from(here.c_str());
        match.not_source_ips = {range(("10." + std::to_string(i) + ".7.0/24").c_str())};
        denies.push_back(one(Action::deny, {match}, ("d" + std::to_string(i)).c_str()));
        allows.push_back(one(Action::allow, {match}, ("a" + std::to_string(i)).c_str()));
    }
    for (std::size_t most : {0, 1, 2, 3, 7, 32}) {
        CAPTURE(most);
        const auto some = of(denies, most);
        CHECK_FALSE(some.whole);
        CHECK(some.rules.size() <= most);
        std::size_t refused = 0;
        for (int i = 0; i < 40; ++i) {
            auto from = [&](const char* end) { return *base::IpAddress::parse("10." + std::to_string(i) + end); };
            refused += refuses(some, {from(".1.1"), {{}, 80}, nullptr});
            CHECK_FALSE(refuses(some, {from(".7.1"), {{}, 80}, nullptr}));
        }
        CHECK((refused > 0) == (most >= 2));
        CHECK(of(allows, most) == Plaintext{{}, false});
    }
    CHECK(of({denies[0], one(Action::deny, {to(80)}, "q")}, 3).rules.size() <= 3);
}

TEST_CASE(
    "plaintext: by chance, a hundred thousand times, it refuses what is refused, and all of it where it says so") {
    base::log::configure(base::log::Level::off, base::log::Format::text);
    std::size_t refused = 0, left = 0, whole = 0, wrong = 0;
    for (std::uint32_t seed = 0; seed < 4000; ++seed) {
        chance::Chance chance{seed};
        const auto all = chance::policies(chance);
        const auto own = chance::workload(chance, all);
        const Unknown unknown = static_cast<Unknown>(chance.below(2));
        Ledger ledger{1};
        const Set set{state::Snapshot{{own}, {}}, all, ledger, unknown};
        const auto plaintext = plaintext_of(set.of("w"), chance.one_in(4) ? chance.below(6) : room);
        whole += plaintext.whole;
        for (int i = 0; i < 25; ++i) {
            const Connection c{chance.ip(), {chance.ip(), chance.port()}, nullptr};
            const bool denied = reference::decide(all, own, c, unknown).verdict != Verdict::allowed;
            const bool said = refuses(plaintext, c);
            refused += said;
            left += denied && !said;
            const bool agree = said ? denied : !denied || !plaintext.whole;
            if (agree || ++wrong > 5) continue;
            CAPTURE(seed);
            CAPTURE(i);
            FAIL_CHECK("the two disagree");
        }
    }
    CHECK(wrong == 0);
    CHECK(refused > 10'000);
    CHECK(left > 1'000);
    CHECK(whole > 1'000);
}
