// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/handshakes.hpp>

#include <doctest/doctest.h>

#include <list>
#include <string>

using culvert::base::IpAddress;
using culvert::hbone::Handshakes;

namespace {

struct Guest final : Handshakes::Guest {
    explicit Guest(bool& o) : out{o} {}
    void put_out() override {
        out = true;
        leave();
    }
    bool& out;
};

IpAddress ip(int number) {
    return *IpAddress::parse("10.0.0." + std::to_string(number));
}

}

TEST_SUITE("hbone") {

TEST_CASE("handshakes: a source has its share, and gets it back") {
    Handshakes house{100, 2};
    bool out = false;
    std::list<Guest> guests;
    const auto enter = [&](int source) { return house.enter(guests.emplace_back(out), ip(source)); };
    CHECK(enter(1));
    CHECK(enter(1));
    CHECK_FALSE(enter(1));
    CHECK(enter(2));
    guests.front().leave();
    guests.front().leave();
    CHECK(enter(1));
    CHECK_FALSE(enter(1));
    CHECK(house.size() == 3);
    guests.clear();
    CHECK(house.size() == 0);
    CHECK(enter(1));
    CHECK_FALSE(out);
}

TEST_CASE("handshakes: all addresses of an IPv6 /64 are one source") {
    Handshakes house{100, 2};
    bool out = false;
    std::list<Guest> guests;
    const auto enter = [&](const char* source) {
        return house.enter(guests.emplace_back(out), *IpAddress::parse(source));
    };
    CHECK(enter("2001:db8:1:2::1"));
    CHECK(enter("2001:db8:1:2::2"));
    CHECK_FALSE(enter("2001:db8:1:2:3:4:5:6"));
    CHECK(enter("2001:db8:1:3::1"));
    guests.front().leave();
    CHECK(enter("2001:db8:1:2::4"));
    CHECK_FALSE(enter("2001:db8:1:2::5"));
    // IPv4 is mapped into one /64 of its own.
    CHECK(enter("10.0.0.1"));
    CHECK(enter("10.0.0.1"));
    CHECK(enter("10.0.0.2"));
}

TEST_CASE("handshakes: when there are too many, the oldest is put out and the newest stays") {
    Handshakes house{3, 2};
    bool out[5] = {};
    std::list<Guest> guests;
    for (int i = 0; i < 5; ++i) CHECK(house.enter(guests.emplace_back(out[i]), ip(i / 2)));
    CHECK(out[0]);
    CHECK(out[1]);
    CHECK_FALSE(out[2]);
    CHECK_FALSE(out[4]);
    CHECK(house.size() == 3);
    // What was put out is off its source's account.
    bool again = false;
    CHECK(house.enter(guests.emplace_back(again), ip(0)));
    CHECK_FALSE(again);
}

}
