// SPDX-License-Identifier: Apache-2.0
// Requests on connections that stay. One connection blocks in recv; several are driven by readiness.
#include <sys/socket.h>

#include <vector>

#include "measurement.hpp"
#include "modes.hpp"
#include "sockets.hpp"
#include "watchdog.hpp"

namespace culvert::load {
namespace {

// A blocking writer of more than this could wait for an echo that waits for its reader.
constexpr std::size_t largest_blocking = 16 * 1024;

void one_connection(int fd, const Options& options, Measurement& measurement) {
    Message message{options.bytes};
    std::vector<char> answer(options.bytes);
    std::uint64_t stamp = 0;
    measurement.begin();
    for (std::uint64_t began = now();;) {
        if (const auto done = exchange(fd, message, ++stamp, answer); !done) return measurement.failure(done.error());
        progress();
        const std::uint64_t time = now();
        if (!measurement.goes_on(time)) return;
        measurement.op(time - began, options.bytes);
        began = now();
    }
}

class Requests {
public:
    Requests(const Options& options, Measurement& measurement)
        : measurement_{measurement}, message_{options.bytes}, answer_(options.bytes) {}

    void add(Fd fd) {
        poller_.add(fd.get(), connections_.size(), EPOLLIN);
        connections_.push_back({std::move(fd), connections_.size() << 40});
    }
    void run();

private:
    struct Connection {
        Fd fd;
        std::uint64_t stamp = 0;
        std::uint64_t began = 0;
        std::size_t sent = 0;
        std::size_t got = 0;
        bool stalled = false;
    };

    void request(Connection& connection);
    void send_more(Connection& connection);
    void receive(Connection& connection);
    void fail(Connection& connection, const base::Error& error);

    Measurement& measurement_;
    Message message_;
    std::vector<char> answer_;
    std::vector<Connection> connections_;
    std::size_t open_ = 0;  // connections with a request under way
    Poller poller_;
};

void Requests::run() {
    measurement_.begin();
    for (Connection& connection : connections_) {
        ++open_;
        request(connection);
    }
    while (open_ > 0) {
        const int n = poller_.wait();
        if (n == 0) return measurement_.failure(nothing_came());
        for (int i = 0; i < n; ++i) {
            Connection& connection = connections_[poller_.events[i].data.u64];
            if (connection.stalled && (poller_.events[i].events & EPOLLOUT) != 0) send_more(connection);
            if (connection.fd && (poller_.events[i].events & ~std::uint32_t{EPOLLOUT}) != 0) receive(connection);
        }
    }
}

void Requests::request(Connection& connection) {
    connection.sent = connection.got = 0;
    ++connection.stamp;
    connection.began = now();
    send_more(connection);
}

void Requests::send_more(Connection& connection) {
    const char* bytes = message_.stamped(connection.stamp);
    const ssize_t n =
        ::send(connection.fd.get(), bytes + connection.sent, message_.size() - connection.sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return fail(connection, base::errno_while("send"));
    if (n > 0) connection.sent += static_cast<std::size_t>(n);
    const bool stalls = connection.sent < message_.size();
    if (stalls != connection.stalled) {
        connection.stalled = stalls;
        poller_.change(connection.fd.get(), static_cast<std::uint64_t>(&connection - connections_.data()),
                       stalls ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

void Requests::receive(Connection& connection) {
    const std::size_t missing = message_.size() - connection.got;
    const ssize_t n = ::recv(connection.fd.get(), answer_.data(), missing, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return fail(connection, base::errno_while("receive"));
    if (n == 0) return fail(connection, base::problem("the connection ended before the whole answer was there"));
    if (!message_.matches(connection.stamp, connection.got, answer_.data(), static_cast<std::size_t>(n))) {
        return fail(connection, base::problem("a wrong byte in an answer"));
    }
    connection.got += static_cast<std::size_t>(n);
    if (connection.got < message_.size()) return;
    progress();
    const std::uint64_t time = now();
    if (!measurement_.goes_on(time)) {
        --open_;
        return connection.fd.reset();
    }
    measurement_.op(time - connection.began, message_.size());
    request(connection);
}

void Requests::fail(Connection& connection, const base::Error& error) {
    measurement_.failure(error);
    --open_;
    connection.fd.reset();
}

}

int rr(const Options& options) {
    start_watchdog();
    Measurement measurement{options};
    Requests requests{options, measurement};
    for (std::size_t i = 0; i < options.connections; ++i) {
        auto fd = connect_to({options.host, options.ports.nth(i)}, true);
        if (!fd) {
            measurement.failure(fd.error());
            return measurement.report();
        }
        progress();
        if (options.connections == 1 && options.bytes <= largest_blocking) {
            one_connection(fd->get(), options, measurement);
            return measurement.report();
        }
        if (const auto set = make_nonblocking(fd->get()); !set) measurement.failure(set.error());
        requests.add(std::move(*fd));
    }
    requests.run();
    return measurement.report();
}

}
