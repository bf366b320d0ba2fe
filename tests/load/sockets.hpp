// SPDX-License-Identifier: Apache-2.0
// What the modes do with sockets. Those made here are blocking unless somebody says otherwise.
#pragma once
#include <sys/epoll.h>

#include <cstdint>
#include <string>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::load {

using base::Fd;
using base::IpAddress;
using base::Result;
using base::SocketAddress;

// Connects with TCP_NODELAY set. Non-blocking: may still be connecting when this returns.
Result<Fd> connect_to(const SocketAddress& address, bool blocking);
Result<Fd> listen_on(const SocketAddress& address);
Result<> make_nonblocking(int fd);

// As many descriptors as this process may ever have.
void raise_descriptor_limit();

// Level-triggered.
class Poller {
public:
    Poller();
    void add(int fd, std::uint64_t tag, std::uint32_t events);
    // False for what is always ready, a file or /dev/null: nobody can be heard there.
    bool add_if_possible(int fd, std::uint64_t tag, std::uint32_t events);
    void change(int fd, std::uint64_t tag, std::uint32_t events);
    // How many of `events` came; 0 when the watchdog says that nothing will.
    int wait();
    // 0 when the time has passed.
    int wait_at_most(std::uint64_t nanoseconds);

    epoll_event events[64];

private:
    Fd epoll_;
};

// The bytes of one request, and what its answer must be: they begin with a stamp, so that an answer to another request
// is a wrong one.
class Message {
public:
    explicit Message(std::size_t bytes);
    std::size_t size() const noexcept { return bytes_.size(); }
    const char* stamped(std::uint64_t stamp) noexcept;
    bool matches(std::uint64_t stamp, std::size_t offset, const char* got, std::size_t length) noexcept;

private:
    std::vector<char> bytes_;
};

// Writes all or reads all, blocking. An end of stream is an error.
Result<> send_all(int fd, const char* bytes, std::size_t length);
Result<> receive_all(int fd, char* bytes, std::size_t length);

// One request and its answer on a blocking socket; `answer` has room for one.
Result<> exchange(int fd, Message& message, std::uint64_t stamp, std::vector<char>& answer);

// The same in pieces, on a socket that does not block.
struct Exchange {
    Fd fd;
    std::uint64_t stamp = 0;
    std::uint64_t began = 0;  // when, for its latency
    std::size_t sent = 0;
    std::size_t got = 0;

    void restart(std::uint64_t its_stamp, std::uint64_t when) noexcept {
        stamp = its_stamp;
        began = when;
        sent = got = 0;
    }
    // As much as there is room for; true when all of the request is sent. An error says what was being done.
    Result<bool> send_more(Message& message, const std::string& doing);
    // True when the whole answer is there.
    Result<bool> receive_more(Message& message, std::vector<char>& answer);
};

base::Error nothing_came();

}
