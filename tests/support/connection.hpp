// SPDX-License-Identifier: Apache-2.0
// A blocking TCP connection as a test's app uses it: every wait has a limit, every failure is an exception that says
// what was tried. Made in one network namespace, used from anywhere.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>

#include "wait.hpp"

namespace culvert::test {

using base::IpAddress;
using base::SocketAddress;

// connect() or what an app uses instead: 0 or the errno. May be waited for as long as the socket's SO_SNDTIMEO.
using Connector = std::function<int(int fd, const sockaddr* to, socklen_t length)>;

struct Dial {
    SocketAddress to;
    std::optional<SocketAddress> from;
    Milliseconds limit = 10s;
    std::function<void(int)> prepare;  // what an app does to its socket before connect()
    bool mapped = false;               // an IPv6 socket for an IPv4 target, as many runtimes make it
    int protocol = 0;                  // IPPROTO_MPTCP
    Connector connect = {};            // connect() itself when empty
};

class Connection {
public:
    Connection() = default;
    explicit Connection(base::Fd socket) : socket_{std::move(socket)} { limit(10s); }
    // Throws std::system_error with connect()'s errno.
    static Connection open(int netns, const Dial& dial);

    void limit(Milliseconds each_wait);
    void send(std::string_view bytes);
    std::string receive(std::size_t exactly);
    std::string receive_some(std::size_t most = 65536);  // empty: the other side has ended
    std::string receive_all();                           // until it ends
    void end_sending();                                  // FIN, still receiving
    void reset();                                        // RST
    void close() { socket_.reset(); }

    // Sends and wants the same back.
    bool echoes(std::string_view text);
    // connect() anew on the same socket, after connect() to nowhere (AF_UNSPEC). 0 or the errno.
    int reconnect(const SocketAddress& to);

    // How it ends, when nothing more comes: "end", "reset", "silence" (limit passed), or "data" when bytes come.
    std::string ending(Milliseconds limit = 10s);

    SocketAddress local() const { return base::local_address(socket_.get()); }
    SocketAddress peer() const { return base::peer_address(socket_.get()); }
    int fd() const noexcept { return socket_.get(); }
    explicit operator bool() const noexcept { return bool(socket_); }

private:
    base::Fd socket_;
};

// What connect() said and after how long; errno 0 is success.
struct Attempt {
    int error = 0;
    Milliseconds took{};
};
Attempt attempt(int netns, const Dial& dial);

// How a call that comes to nothing ends for the app: Connection::ending(), or "reset" when it came so soon that
// connect() told of it.
std::string fate(int netns, const Dial& dial, Milliseconds limit = 10s);

}
