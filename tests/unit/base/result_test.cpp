// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <culvert/base/over_limit.hpp>

namespace base = culvert::base;

TEST_SUITE("base") {
TEST_CASE("error: one of a limit is known by its code, not by its text") {
    const base::Error limit = base::over_limit("tunnels to this peer");
    CHECK(limit.to_string() == "over a limit: tunnels to this peer");
    CHECK(base::is_over_limit(limit));
    const base::Error alike = base::problem("over a limit: what the peer said");
    CHECK_FALSE(base::is_over_limit(alike));
    CHECK_FALSE(base::is_over_limit(base::errno_while("dial", ECONNREFUSED)));
}
}
