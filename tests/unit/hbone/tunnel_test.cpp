// SPDX-License-Identifier: Apache-2.0
#include "fixtures.hpp"

using namespace fixtures;

namespace {

Task<> echo(World& w, std::uint64_t bytes) {
    auto stream = co_await w.open();
    CHECK_MESSAGE(stream.has_value(), (stream ? "" : stream.error().to_string()));
    if (!stream) co_return;
    Talker talker;
    talker.to_send = bytes;
    talker.start(std::move(*stream));
    bool done = co_await w.until([&] { return talker.done() || !talker.reset.empty(); }, 60s);
    CHECK(done);
    CHECK(talker.reset == "");
    CHECK(talker.received == bytes);
    CHECK(!talker.corrupt);
}

}

TEST_SUITE("hbone") {

TEST_CASE("tunnel: what is sent comes back, and an end is answered with an end") {
    for (std::uint64_t bytes : {0ull, 1ull, 16384ull, 100'000ull, 3'000'000ull}) {
        CAPTURE(bytes);
        World w;
        w.play(echo(w, bytes));
        REQUIRE(w.infos.size() == 1);
        CHECK(w.infos[0].identity->to_string() == spiffe("client"));
        CHECK(w.infos[0].local == w.address);
    }
}

}
