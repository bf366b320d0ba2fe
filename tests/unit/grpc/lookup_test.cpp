// SPDX-License-Identifier: Apache-2.0
#include "grpc/lookup.hpp"

#include <doctest/doctest.h>

#include <optional>

#include <boost/asio/io_context.hpp>

using namespace culvert;
using Found = std::optional<base::Result<std::vector<base::IpAddress>>>;

TEST_SUITE("grpc") {

TEST_CASE("lookup: a name has its addresses, and no name an error with it") {
    boost::asio::io_context io{1};
    Found found;
    grpc::Lookup lookup{io, "localhost", [&](auto result) { found = std::move(result); }};
    CHECK(!found);  // never from inside
    io.run();       // until it is answered: a question is work
    REQUIRE(found);
    REQUIRE(found->has_value());
    REQUIRE(!(*found)->empty());
    CHECK((*found)->front().is_loopback());

    Found missing;
    grpc::Lookup other{io, "no such name", [&](auto result) { missing = std::move(result); }};
    io.restart();
    io.run();
    REQUIRE(missing);
    REQUIRE(!missing->has_value());
    CHECK(missing->error().to_string().find("look up the address of no such name: ") == 0);
}

TEST_CASE("lookup: whoever has gone is told nothing, and is not waited for") {
    for (int i = 0; i < 50; ++i) {
        boost::asio::io_context io{1};
        bool told = false;
        {
            grpc::Lookup lookup{io, "localhost", [&](auto) { told = true; }};
            if (i % 2 == 0) io.poll();
            told = false;
        }
        io.run();
        CHECK(!told);
    }
}

}
