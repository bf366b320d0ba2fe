// SPDX-License-Identifier: Apache-2.0
// A name that nobody has yet: refused for the time being, and for good when the time is over.
#include <doctest/doctest.h>

#include <culvert/policy/set.hpp>

using namespace culvert;
using namespace culvert::policy;

namespace {

const state::Identity client{"td", "from", "account"};
const base::SocketAddress server = *base::SocketAddress::parse("10.0.0.1:80");
const Connection from_client{server.ip, server, &client};
const Connection plaintext{server.ip, server, nullptr};

state::Snapshot naming(std::vector<std::string> names) {
    state::Workload w;
    w.uid = "w";
    w.namespace_ = "ns";
    w.authorization_policies = std::move(names);
    return state::Snapshot{{w}, {}};
}

}

TEST_CASE("awaited: a new name is waited for once, a second long, and not when it comes in time") {
    Awaited awaited;
    const Awaited::Clock::time_point began{};
    const std::vector<Policy> none;
    const std::vector<Policy> one{{.name = "a", .namespace_ = "ns"}};
    const auto mesh = naming({"ns/a", "ns/b"});
    CHECK(awaited.after(mesh, none, began) == Names{"ns/a", "ns/b"});
    CHECK(awaited.next(began) == began + longest_wait);
    const auto later = began + longest_wait / 2;
    CHECK(awaited.after(mesh, one, later) == Names{"ns/b"});
    CHECK(awaited.next(later) == began + longest_wait);
    const auto over = began + longest_wait;
    CHECK(awaited.after(mesh, one, over).empty());
    CHECK_FALSE(awaited.next(over).has_value());
    // One that was there and is gone is new again; one that was waited for in vain is not.
    CHECK(awaited.after(mesh, none, over) == Names{"ns/a"});
    // Nor is anything that nobody names any more.
    CHECK(awaited.after(naming({}), none, over).empty());
    CHECK(awaited.after(mesh, none, over) == Names{"ns/a", "ns/b"});
}

TEST_CASE("awaited: until it comes all is refused that may come to be, whatever an unknown one comes to") {
    for (const Unknown unknown : {Unknown::deny, Unknown::allow}) {
        Ledger ledger{1};
        const Set set{naming({"ns/later"}), {}, ledger, unknown, {"ns/later"}};
        const auto decision = decide(*set.of("w"), from_client);
        CHECK_FALSE(decision.allowed());
        CHECK(decision.may_change());
    }
    Ledger ledger{1};
    const Set converted{naming({"ns/converted_peer_authentication_x"}),
                        {},
                        ledger,
                        Unknown::deny,
                        {"ns/converted_peer_authentication_x"}};
    CHECK(decide(*converted.of("w"), from_client).allowed());
    CHECK(decide(*converted.of("w"), plaintext).may_change());
    const Set over{naming({"ns/later"}), {}, ledger, Unknown::deny};
    CHECK_FALSE(decide(*over.of("w"), plaintext).may_change());
}
