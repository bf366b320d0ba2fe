// SPDX-License-Identifier: Apache-2.0
// Apps that know every byte they may see, for tests in which daemons die: a connection may be refused or reset at any
// moment, and never may a byte be wrong or an end of stream look clean that is not.
//
//   client: "<secret> echo|down|up <which pattern> <bytes>\n"
//   echo: what comes goes back. down: so many bytes, then the end. up: takes so many and the end, then says "whole".
#pragma once
#include <array>
#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lab.hpp"
#include "pattern.hpp"
#include "server.hpp"

namespace culvert::test {

class CheckedLoad {
public:
    enum class Kind { echo, down, up };
    explicit CheckedLoad(std::string secret);
    ~CheckedLoad() { stop(); }
    CheckedLoad(const CheckedLoad&) = delete;

    App app();  // what serves it; borrows this
    // One connection after the other, until stop().
    void call(const Pod& from, SocketAddress to, Kind kind, std::uint64_t seed);
    void stop();

    struct Counts {
        std::atomic<int> whole{0};    // ended in order, all bytes right
        std::atomic<int> cut{0};      // reset in the middle; all bytes until then were right
        std::atomic<int> refused{0};  // no connection at all
        std::atomic<std::uint64_t> bytes{0};
    };
    const Counts& counts() const noexcept { return counts_; }
    // What must never be, one line each: a wrong byte, an end that looks clean, silence.
    std::vector<std::string> wrong() const;

private:
    void run(const Pod& from, SocketAddress to, Kind kind, std::uint64_t seed);
    void talk(Connection& connection, Kind kind, std::uint64_t pattern, std::uint64_t bytes);
    void serve(Connection& connection);
    void complain(const std::string& what);

    const std::string secret_;
    std::vector<Pattern> patterns_;
    Counts counts_;
    mutable std::mutex mutex_;
    std::vector<std::string> wrong_;
    std::atomic<bool> ending_{false};
    std::vector<std::thread> callers_;
};

}
