// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <culvert/hbone/rehearsal.hpp>

TEST_SUITE("hbone") {
TEST_CASE("rehearsal: both ends of a tunnel understand each other, as often as they are asked") {
    for (int time = 0; time < 2; ++time) {
        auto done = culvert::hbone::rehearse();
        CHECK_MESSAGE(done.has_value(), (done ? "" : done.error().to_string()));
    }
}
}
