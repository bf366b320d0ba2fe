// SPDX-License-Identifier: Apache-2.0
#include <telemetry/entry_ring.hpp>

#include <doctest/doctest.h>

#include <thread>

using namespace culvert::telemetry;

namespace {

AccessEntry numbered(std::uint64_t n) {
    AccessEntry entry;
    entry.bytes_sent = n;
    entry.error = "a text too long to live inside the string itself " + std::to_string(n);
    return entry;
}

}

TEST_SUITE("telemetry") {

TEST_CASE("entry ring: takes exactly its bound, refuses the next one and leaves that entry whole") {
    EntryRing ring{100};
    for (std::uint64_t n = 0; n < 100; ++n) REQUIRE(ring.push(numbered(n)));
    auto refused = numbered(100);
    CHECK_FALSE(ring.push(std::move(refused)));
    CHECK(refused.error.ends_with(" 100"));
    AccessEntry out;
    REQUIRE(ring.pop(out));
    CHECK(out.bytes_sent == 0);
    CHECK(ring.push(std::move(refused)));
    CHECK_FALSE(ring.push(numbered(101)));
    for (std::uint64_t n = 1; n <= 100; ++n) {
        REQUIRE(ring.pop(out));
        CHECK(out.bytes_sent == n);
        CHECK(out.error.ends_with(" " + std::to_string(n)));
    }
    CHECK_FALSE(ring.pop(out));
    CHECK(ring.empty());
}

TEST_CASE("entry ring: entries left behind are freed with it, wherever it stands in its chunks") {
    for (int pushed : {0, 1, 31, 32, 33, 64, 200})
        for (int popped : {0, 1, 32, 33, 200}) {
            EntryRing ring{1000};
            AccessEntry out;
            for (int n = 0; n < pushed; ++n) REQUIRE(ring.push(numbered(1)));
            for (int n = 0; n < popped; ++n) CHECK(ring.pop(out) == (n < pushed));
        }
}

TEST_CASE("entry ring: two threads, nothing lost, doubled or out of order") {
    constexpr std::uint64_t total = 100'000;
    EntryRing ring{64};
    std::uint64_t wrong = 0;
    std::thread writer{[&] {
        AccessEntry out;
        for (std::uint64_t next = 0; next < total;) {
            if (!ring.pop(out)) {
                std::this_thread::yield();
                continue;
            }
            wrong += out.bytes_sent != next || !out.error.ends_with(" " + std::to_string(next));
            ++next;
        }
    }};
    for (std::uint64_t n = 0; n < total;) {
        if (ring.push(numbered(n)))
            ++n;
        else
            std::this_thread::yield();
    }
    writer.join();
    CHECK(wrong == 0);
    CHECK(ring.empty());
}

}
