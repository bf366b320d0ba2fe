// SPDX-License-Identifier: Apache-2.0
// Requests on several connections that stay, driven by readiness. In a closed loop each connection asks again when its
// answer is there; in an open one requests have times of their own, and their latency counts from those: whoever waits
// for a free connection waits as a user would.
#pragma once
#include <cstdint>
#include <vector>

#include "measurement.hpp"
#include "sockets.hpp"

namespace culvert::load {

class Requests {
public:
    Requests(const Options& options, Measurement& measurement);

    // Non-blocking, and connected.
    void add(Fd fd);
    // Until the measurement is over and the last answer is there.
    void run();

private:
    struct Connection : Exchange {
        bool stalled = false;  // waits for room for the rest of its request
    };

    bool open_loop() const noexcept { return interval_ > 0; }
    void begin();
    int wait();
    void request_what_is_due();
    void request(Connection& connection, std::uint64_t began);
    void send_more(Connection& connection);
    void receive(Connection& connection);
    void answered(Connection& connection);
    void fail(Connection& connection, const base::Error& error);
    std::size_t index_of(const Connection& connection) const;

    Measurement& measurement_;
    Message message_;
    std::vector<char> answer_;
    std::vector<Connection> connections_;
    std::size_t under_way_ = 0;
    std::uint64_t interval_ = 0;     // between requests of an open loop, in nanoseconds
    std::uint64_t due_ = 0;          // when its next one should begin
    std::vector<std::size_t> free_;  // its connections without a request
    Poller poller_;
};

}
