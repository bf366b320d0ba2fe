// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/doors.hpp>

#include <atomic>
#include <stdexcept>

#include "client.hpp"

using namespace culvert::admin;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

Routes hello() {
    return {{"/hello",
             [] {
                 return Answer{200, "text/plain", "hi\n"};
             }},
            {"/other", [] {
                 return Answer{200, "text/html", "other"};
             }}};
}

}

TEST_SUITE("admin") {

TEST_CASE("door: a GET is answered by its route, whatever its query") {
    OpenDoor door{hello()};
    Client client{door.address};
    auto answer = client.get("/hello?x=/other");
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(has(answer, "\r\nContent-Type: text/plain\r\n"));
    CHECK(answer.ends_with("\r\n\r\nhi\n"));
}

TEST_CASE("door: a connection serves many requests, one after the other or sent at once") {
    OpenDoor door{hello()};
    Client client{door.address};
    CHECK(client.get("/hello").ends_with("hi\n"));
    CHECK(client.get("/other").ends_with("other"));
    std::string one = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", two = "GET /other HTTP/1.1\r\nHost: x\r\n\r\n";
    REQUIRE(client.send(one + two + one + two.substr(0, 9)));
    CHECK(client.response().ends_with("hi\n"));
    CHECK(client.response().ends_with("other"));
    CHECK(client.response().ends_with("hi\n"));
    REQUIRE(client.send(two.substr(9)));
    CHECK(client.response().ends_with("other"));
}

TEST_CASE("door: closes when it is asked to, and for HTTP/1.0") {
    OpenDoor door{hello()};
    for (const char* request :
         {"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /hello HTTP/1.0\r\n\r\n"}) {
        CAPTURE(request);
        Client client{door.address};
        REQUIRE(client.send(request));
        CHECK(client.response().ends_with("hi\n"));
        CHECK(client.closed());
    }
}

TEST_CASE("door: what it does not serve is said, and the connection goes on") {
    struct Row {
        const char* request;
        const char* status;
        const char* part;
    };
    OpenDoor door{hello()};
    Client client{door.address};
    for (const Row& row :
         {Row{"GET /where HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", "this door has: /hello /other\n"},
          Row{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", "\r\n\r\nnot found"},
          Row{"POST /hello HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed", "Allow: GET"},
          Row{"BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", "only GET"},
          Row{"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", "Content-Length: 0"},
          Row{"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "200 OK", "hi\n"}}) {
        CAPTURE(row.request);
        REQUIRE(client.send(row.request));
        auto answer = client.response();
        CHECK(answer.starts_with(std::string{"HTTP/1.1 "} + row.status + "\r\n"));
        CHECK(has(answer, row.part));
    }
}

TEST_CASE("door: what it cannot read is refused with a word, and the connection ends") {
    struct Row {
        const char* name;
        std::string request;
        const char* status;
    };
    std::string much(9000, 'a');
    OpenDoor door{hello()};
    for (const Row& row :
         {Row{"too large headers", "GET /hello HTTP/1.1\r\nX: " + much + "\r\n\r\n", "431"},
          Row{"headers without an end", "GET /hello HTTP/1.1\r\nX: " + much + much + much, "431"},
          Row{"too large a path", "GET /" + much + " HTTP/1.1\r\n\r\n", "431"},
          Row{"too large a body", "GET /hello HTTP/1.1\r\nContent-Length: 9000\r\n\r\n" + much, "413"},
          Row{"TLS", std::string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15}, "400"},
          Row{"no version", "GET /hello\r\n\r\n", "400"}, Row{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"}}) {
        CAPTURE(row.name);
        Client client{door.address};
        client.send(row.request);
        auto answer = client.response();
        CAPTURE(answer);
        CHECK(answer.starts_with(std::string{"HTTP/1.1 "} + row.status + " "));
        CHECK(has(answer, "\r\nConnection: close\r\n"));
        CHECK(client.ended_politely());  // also when it has sent more than was read
    }
    CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));
}

TEST_CASE("door: slow clients are cut off, at every stage, and others do not wait for them") {
    DoorLimits limits{.request = 100ms, .answer = 100ms, .idle = 100ms};
    OpenDoor door{hello(), limits};
    auto began = Clock::now();
    SUBCASE("one that says nothing") {
        Client client{door.address};
        CHECK(client.closed());
    }
    SUBCASE("one that stops in the middle of its headers") {
        Client client{door.address};
        REQUIRE(client.send("GET /hello HTTP/1.1\r\nHost:"));
        CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));
        CHECK(client.closed());
    }
    SUBCASE("one that drips: the limit is for the whole request, not for a byte") {
        Client client{door.address};
        int drops = 0;
        while (client.send("G") && drops < 500) {
            ++drops;
            std::this_thread::sleep_for(10ms);
        }
        CHECK(drops < 100);
    }
    SUBCASE("one that stays after its answer") {
        Client client{door.address};
        CHECK(client.get("/hello").ends_with("hi\n"));
        CHECK(client.closed());
    }
    CHECK(Clock::now() - began < 5s);
    CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));
}

TEST_CASE("door: a client that does not take its answer is cut off") {
    DoorLimits limits{.answer = 100ms};
    std::string much(32 * 1024 * 1024, 'x');
    OpenDoor door{{{"/much", [&] { return Answer{200, "text/plain", much}; }}}, limits};
    Client client{door.address, 4096};
    REQUIRE(client.send("GET /much HTTP/1.1\r\nHost: x\r\n\r\n"));
    std::this_thread::sleep_for(300ms);  // not reading is the test
    CHECK(client.response().empty());
}

TEST_CASE("door: one connection too many is told to come back, and served when another has gone") {
    OpenDoor door{hello(), {.connections = 2}};
    Client one{door.address};
    CHECK(one.get("/hello").ends_with("hi\n"));
    {
        Client two{door.address};
        CHECK(two.get("/hello").ends_with("hi\n"));
        Client three{door.address};
        auto answer = three.get("/hello");
        CHECK(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        CHECK(has(answer, "too many connections"));
        CHECK(three.closed());
        CHECK(one.get("/hello").ends_with("hi\n"));
    }
    bool served = false;
    for (int tries = 0; tries < 500 && !served; ++tries) {
        Client four{door.address};
        served = four.get("/hello").ends_with("hi\n");
    }
    CHECK(served);
}

TEST_CASE("door: one address has so many connections, and leaves room for others") {
    OpenDoor door{hello(), {.connections = 8, .connections_of_one = 2}};
    std::vector<std::unique_ptr<Client>> idle;
    for (int i = 0; i < 2; ++i) {
        idle.push_back(std::make_unique<Client>(door.address, 0, "127.0.0.2"));
        CHECK(idle.back()->get("/hello").ends_with("hi\n"));
    }
    CHECK(Client{door.address, 0, "127.0.0.2"}.get("/hello").starts_with("HTTP/1.1 503"));
    CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));
    idle.pop_back();
    bool served = false;
    for (int tries = 0; tries < 500 && !served; ++tries)
        served = Client{door.address, 0, "127.0.0.2"}.get("/hello").ends_with("hi\n");
    CHECK(served);
}

TEST_CASE("door: a crowd that is refused takes no place from others, and beyond as many again it says nothing") {
    OpenDoor door{hello(), {.request = 300ms, .connections = 4}};
    std::vector<std::unique_ptr<Client>> crowd;
    for (int i = 0; i < 40; ++i) crowd.push_back(std::make_unique<Client>(door.address));
    int refused = 0, dropped = 0;
    for (auto& client : crowd) {
        auto answer = client->response();
        refused += answer.starts_with("HTTP/1.1 503");
        dropped += answer.empty();
    }
    CHECK(refused >= 4);
    CHECK(refused < 20);
    CHECK(refused + dropped == 40);
    CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));
}

TEST_CASE("door: a route that throws is an internal error, once") {
    int calls = 0;
    OpenDoor door{{{"/hello", [&] {
                        if (++calls == 1) throw std::runtime_error{"no luck"};
                        return Answer{200, "text/plain", "hi\n"};
                    }}}};
    Client client{door.address};
    auto answer = client.get("/hello");
    CHECK(answer.starts_with("HTTP/1.1 500 "));
    CHECK_FALSE(has(answer, "luck"));  // for the log, not for whoever asks
    CHECK(client.get("/hello").ends_with("hi\n"));
}

TEST_CASE("door: closed, it cuts its connections, calls no route and takes no new connection") {
    std::atomic<int> calls{0};
    OpenDoor door{{{"/hello",
                    [&] {
                        ++calls;
                        return Answer{200, "text/plain", "hi\n"};
                    }}},
                  {.request = 60s, .idle = 60s}};
    Client asked{door.address}, silent{door.address}, half{door.address};
    CHECK(asked.get("/hello").ends_with("hi\n"));
    REQUIRE(half.send("GET /hel"));
    CHECK(Client{door.address}.get("/hello").ends_with("hi\n"));  // by now the door has accepted all of them
    door.close();
    half.send("lo HTTP/1.1\r\n\r\n");
    asked.send("GET /hello HTTP/1.1\r\n\r\n");
    CHECK(asked.closed());
    CHECK(silent.closed());
    CHECK(half.closed());
    CHECK(calls == 2);
    culvert::base::Fd late{::socket(AF_INET, SOCK_STREAM, 0)};
    sockaddr_storage raw;
    auto length = door.address.to(raw);
    CHECK(::connect(late.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0);
}

}
