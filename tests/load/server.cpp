// SPDX-License-Identifier: Apache-2.0
// Echoes what comes, or swallows and counts it. One receive per event; only an answer that does not fit is kept.
#include <endian.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include <fmt/format.h>

#include "modes.hpp"
#include "sockets.hpp"

namespace culvert::load {
namespace {

enum class Kind : std::uint8_t { enough, echo_listener, sink_listener, echo, sink };

constexpr std::size_t echo_buffer = 64 * 1024;
constexpr std::size_t sink_buffer = 256 * 1024;

std::uint64_t tag(Kind kind, int fd) {
    return static_cast<std::uint64_t>(kind) << 32 | static_cast<std::uint32_t>(fd);
}

class Server {
public:
    explicit Server(bool corrupt) : corrupt_{corrupt}, buffer_(sink_buffer) {}
    Result<> listen(const Ports& ports, const IpAddress& address, Kind kind);
    void end_on(int fd) { poller_.add_if_possible(fd, tag(Kind::enough, fd), EPOLLIN); }
    void run();

private:
    struct Connection {
        Fd fd;
        std::uint64_t swallowed = 0;
        std::vector<char> kept;  // of an answer that did not fit
    };

    void accept(int listener, Kind kind);
    void echo(int fd, std::uint32_t events);
    void answer(Connection& connection, const char* bytes, std::size_t length);
    void sink(int fd);

    bool corrupt_;
    std::vector<char> buffer_;
    std::vector<Fd> listeners_;
    std::vector<Connection> connections_;  // by descriptor
    Poller poller_;
};

Result<> Server::listen(const Ports& ports, const IpAddress& address, Kind kind) {
    for (std::uint16_t i = 0; i < ports.count; ++i) {
        auto listener = listen_on({address, ports.nth(i)});
        if (!listener) return listener.error();
        poller_.add(listener->get(), tag(kind, listener->get()), EPOLLIN);
        listeners_.push_back(std::move(*listener));
    }
    return {};
}

void Server::run() {
    for (;;) {
        const int n = poller_.wait();
        for (int i = 0; i < n; ++i) {
            const epoll_event& event = poller_.events[i];
            const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
            switch (static_cast<Kind>(event.data.u64 >> 32)) {
                case Kind::enough: return;
                case Kind::echo_listener: accept(fd, Kind::echo); break;
                case Kind::sink_listener: accept(fd, Kind::sink); break;
                case Kind::echo: echo(fd, event.events); break;
                case Kind::sink: sink(fd); break;
            }
        }
    }
}

void Server::accept(int listener, Kind kind) {
    Fd fd{::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!fd) return;
    const int on = 1, raw = fd.get();
    ::setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connections_.size() <= static_cast<std::size_t>(raw))
        connections_.resize(2 * static_cast<std::size_t>(raw) + 1);
    connections_[static_cast<std::size_t>(raw)] = {std::move(fd)};
    poller_.add(raw, tag(kind, raw), EPOLLIN);
}

void Server::echo(int fd, std::uint32_t events) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    if (!connection.kept.empty() && (events & (EPOLLERR | EPOLLHUP)) == 0) {
        const std::vector<char> kept = std::move(connection.kept);
        connection.kept.clear();
        poller_.change(fd, tag(Kind::echo, fd), EPOLLIN);
        return answer(connection, kept.data(), kept.size());
    }
    const ssize_t n = ::recv(fd, buffer_.data(), echo_buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return connection.fd.reset();
    if (corrupt_) buffer_[static_cast<std::size_t>(n) - 1] ^= 1;
    answer(connection, buffer_.data(), static_cast<std::size_t>(n));
}

void Server::answer(Connection& connection, const char* bytes, std::size_t length) {
    const int fd = connection.fd.get();
    ssize_t n = ::send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return connection.fd.reset();
    n = std::max<ssize_t>(n, 0);
    if (static_cast<std::size_t>(n) == length) return;
    connection.kept.assign(bytes + n, bytes + length);
    poller_.change(fd, tag(Kind::echo, fd), EPOLLOUT);
}

void Server::sink(int fd) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    const ssize_t n = ::recv(fd, buffer_.data(), sink_buffer, 0);
    if (n > 0) {
        connection.swallowed += static_cast<std::uint64_t>(n);
        return;
    }
    if (n < 0 && errno == EAGAIN) return;
    const std::uint64_t count = htobe64(connection.swallowed);
    if (n == 0) ::send(fd, &count, sizeof count, MSG_NOSIGNAL);
    connection.fd.reset();
}

}

int serve(const Options& options) {
    Server server{options.corrupt};
    for (const auto& [ports, kind] :
         {std::pair{options.echo, Kind::echo_listener}, {options.sink, Kind::sink_listener}}) {
        if (const auto listening = server.listen(ports, options.address, kind); !listening) {
            fmt::print(stderr, "culvert_load serve: {}\n", listening.error().to_string());
            return 1;
        }
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    const Fd ended{::signalfd(-1, &signals, SFD_CLOEXEC)};
    server.end_on(ended.get());
    if (options.until_eof) server.end_on(STDIN_FILENO);
    fmt::print("ready\n");
    std::fflush(stdout);
    server.run();
    return 0;
}

}
