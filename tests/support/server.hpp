// SPDX-License-Identifier: Apache-2.0
// An app that listens in a pod: one thread accepts, one serves each connection. And the usual apps.
#pragma once
#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "connection.hpp"

namespace culvert::test {

using App = std::function<void(Connection&)>;

class Server {
public:
    // Listens on both families before it returns. Port 0: the kernel's choice, see port(). `prepare` is what the app
    // does to its socket before listen().
    Server(int netns, std::uint16_t port, App app, const std::function<void(int)>& prepare = {});
    Server(const Server&) = delete;
    ~Server();  // ends its connections

    std::uint16_t port() const noexcept { return port_; }
    // Who connected, as the app's own accept() and getsockname() said, in order.
    struct Guest {
        SocketAddress from;
        SocketAddress to;
    };
    std::vector<Guest> guests() const;
    // The nth guest (from 0), waited for; throws when nobody comes.
    Guest guest(std::size_t n, Milliseconds limit = 5s) const;
    Guest last_guest() const;  // throws when there was none
    // What went wrong inside the apps, one line each.
    std::vector<std::string> complaints() const;

private:
    void accept_all();
    void serve(Connection& connection);

    App app_;
    base::Fd listener_;
    std::uint16_t port_ = 0;
    mutable std::mutex mutex_;
    std::vector<Guest> guests_;
    std::vector<std::string> complaints_;
    struct Session {
        explicit Session(Connection c) : connection{std::move(c)} {}
        Connection connection;
        std::thread thread;
        std::atomic<bool> over{false};
    };
    void forget_old_sessions();
    std::list<Session> sessions_;
    std::atomic<bool> ending_{false};
    std::thread acceptor_;
};

namespace apps {
// Sends back what comes until the other side ends, then ends too.
void echo(Connection& connection);
// Speaks first, then echoes.
App greet(std::string greeting);
// Answers once the other side has ended: the length of what came, in decimal.
void count_then_answer(Connection& connection);
// Reads nothing until the other side is gone.
void ignore(Connection& connection);
}

}
