// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/doors.hpp>

#include <optional>

#include "client.hpp"

using namespace culvert::admin;
using namespace std::chrono_literals;

namespace {

struct Fed {
    std::shared_ptr<Feed> feed = std::make_shared<Feed>();
    OpenDoor door{{{"/feed", [this] { return Answer{200, "application/x-ndjson", "", feed}; }}}};
    Client client{door.address};

    Fed() {
        client.send("GET /feed HTTP/1.1\r\nHost: door\r\n\r\n");
        REQUIRE(client.reads("Transfer-Encoding: chunked\r\n"));
        REQUIRE(client.reads("\r\n\r\n"));
    }
    // On the thread that a feed lives on.
    template <class Work>
    auto there(Work work) {
        std::promise<decltype(work())> done;
        boost::asio::post(door.io, [&] { done.set_value(work()); });
        return done.get_future().get();
    }
    bool push(std::string_view text) {
        return there([&] { return feed->push(text); });
    }
    bool closes() {
        for (auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until;)
            if (there([&] { return feed->closed(); })) return true;
        return false;
    }
};

}

TEST_SUITE("admin") {

TEST_CASE("feed: what is pushed reaches the reader at once, and its end ends the connection") {
    Fed fed;
    CHECK(fed.push("one\n"));
    CHECK(fed.client.reads("4\r\none\n\r\n"));
    CHECK(fed.push("two, which is longer\n"));
    CHECK(fed.client.reads("15\r\ntwo, which is longer\n\r\n"));
    fed.there([&] {
        fed.feed->push("bye\n");
        fed.feed->end();
        return 0;
    });
    CHECK(fed.client.reads("4\r\nbye\n\r\n0\r\n\r\n"));
    CHECK(fed.client.ended_politely());
}

TEST_CASE("feed: a reader that leaves closes it, and so does the door") {
    std::optional<Fed> fed{std::in_place};
    fed->client = Client{fed->door.address};
    CHECK(fed->closes());
    CHECK_FALSE(fed->push("to nobody"));
    fed.emplace();
    fed->door.close();
    CHECK(fed->closes());
    CHECK(fed->client.closed());
}

TEST_CASE("feed: there is a bound, what does not fit is not taken in part, and what is taken makes room") {
    Feed feed{8};
    CHECK(feed.push("12345"));
    CHECK_FALSE(feed.push("6789"));
    CHECK(feed.push("678"));
    CHECK(feed.take() == "12345678");
    CHECK(feed.push("9"));
}

}
