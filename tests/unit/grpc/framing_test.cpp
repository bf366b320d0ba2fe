// SPDX-License-Identifier: Apache-2.0
#include "grpc/framing.hpp"

#include <doctest/doctest.h>

using namespace culvert::grpc;
using Messages = std::vector<std::string>;

TEST_SUITE("grpc") {

TEST_CASE("framing: messages come back whole, however the bytes are cut") {
    const Messages sent{"one", "", std::string(70000, 'x'), "last"};
    std::string bytes;
    for (const auto& message : sent) bytes += framed(message);
    for (std::size_t piece : {std::size_t{1}, std::size_t{4}, std::size_t{5}, std::size_t{6}, bytes.size()}) {
        CAPTURE(piece);
        Unframer unframer{70000};
        Messages heard;
        for (std::size_t at = 0; at < bytes.size(); at += piece)
            REQUIRE(!unframer.take(std::string_view{bytes}.substr(at, piece), heard));
        CHECK(heard == sent);
        CHECK(!unframer.in_a_message());
    }
}

TEST_CASE("framing: an end within a message is seen") {
    Unframer unframer{100};
    Messages heard;
    for (std::size_t cut = 1; cut < 8; ++cut) {
        Unframer fresh{100};
        CHECK(!fresh.take(framed("abc").substr(0, cut), heard));
        CHECK(fresh.in_a_message());
    }
    CHECK(heard.empty());
}

TEST_CASE("framing: a message that is too large, or compressed, ends the call before it comes") {
    Unframer unframer{3};
    Messages heard;
    auto why = unframer.take(framed("four").substr(0, 5), heard);
    REQUIRE(why.has_value());
    CHECK(why->code == Code::resource_exhausted);
    CHECK(why->message == "the server announced a message of 4 bytes, more than 3");

    Unframer other{100};
    std::string compressed = framed("abc");
    compressed[0] = 1;
    why = other.take(compressed, heard);
    REQUIRE(why.has_value());
    CHECK(why->code == Code::internal);
    CHECK(heard.empty());
}

}
