// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>
#include <stdexcept>
#include <system_error>

#include "visit.hpp"

namespace culvert::test {
namespace {

[[noreturn]] void fail(const std::string& doing, int error = errno) {
    throw std::system_error(error, std::system_category(), doing);
}

// An io_uring that ends interrupts its thread, and a call with a limit is not taken up again by itself.
ssize_t unless_interrupted(const auto& call) {
    for (;;) {
        const ssize_t result = call();
        if (result >= 0 || errno != EINTR) return result;
    }
}

void set_limits(int fd, Milliseconds limit) {
    const timeval wait{limit.count() / 1000, (limit.count() % 1000) * 1000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

int plain_connect(int fd, const sockaddr* to, socklen_t length) {
    return ::connect(fd, to, length) == 0 ? 0 : errno;
}

// 0 or connect()'s errno. SO_SNDTIMEO bounds connect() too (EINPROGRESS when it passes).
int connect_to(int fd, const SocketAddress& to, bool mapped, const Connector& connector) {
    sockaddr_storage raw{};
    socklen_t length = to.to(raw);
    if (mapped) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(to.port);
        std::memcpy(&v6.sin6_addr, to.ip.bytes.data(), 16);
        std::memcpy(&raw, &v6, length = sizeof v6);
    }
    const auto& connect = connector ? connector : Connector{plain_connect};
    const int error = connect(fd, reinterpret_cast<sockaddr*>(&raw), length);
    return error == EINPROGRESS ? ETIMEDOUT : error;
}

base::Fd fresh(int netns, const Dial& dial) {
    return visit(netns, [&] {
        base::Fd socket{
            ::socket(dial.mapped ? AF_INET6 : dial.to.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, dial.protocol)};
        if (!socket) fail("socket");
        const int one = 1;
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        set_limits(socket.get(), dial.limit);
        if (dial.from) {
            sockaddr_storage raw{};
            const socklen_t length = dial.from->to(raw);
            ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&raw), length) != 0)
                fail("bind " + dial.from->to_string());
        }
        if (dial.prepare) dial.prepare(socket.get());
        return socket;
    });
}

}

Connection Connection::open(int netns, const Dial& dial) {
    base::Fd socket = fresh(netns, dial);
    if (const int error = connect_to(socket.get(), dial.to, dial.mapped, dial.connect))
        fail("connect to " + dial.to.to_string(), error);
    return Connection{std::move(socket)};
}

Attempt attempt(int netns, const Dial& dial) {
    base::Fd socket = fresh(netns, dial);
    Stopwatch watch;
    Attempt result;
    result.error = connect_to(socket.get(), dial.to, dial.mapped, dial.connect);
    result.took = watch.elapsed();
    return result;
}

void Connection::limit(Milliseconds each_wait) {
    set_limits(socket_.get(), each_wait);
}

void Connection::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n =
            unless_interrupted([&] { return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); });
        if (n < 0) fail("send", errno == EAGAIN ? ETIMEDOUT : errno);
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

std::string Connection::receive_some(std::size_t most) {
    std::string bytes(most, '\0');
    const ssize_t n = unless_interrupted([&] { return ::recv(socket_.get(), bytes.data(), most, 0); });
    if (n < 0) fail("receive", errno == EAGAIN ? ETIMEDOUT : errno);
    bytes.resize(static_cast<std::size_t>(n));
    return bytes;
}

std::string Connection::receive(std::size_t exactly) {
    std::string bytes;
    while (bytes.size() < exactly) {
        const std::string more = receive_some(exactly - bytes.size());
        if (more.empty())
            throw std::runtime_error("ended after " + std::to_string(bytes.size()) + " of " + std::to_string(exactly) +
                                     " bytes");
        bytes += more;
    }
    return bytes;
}

std::string Connection::receive_all() {
    std::string bytes;
    for (std::string more = receive_some(); !more.empty(); more = receive_some()) bytes += more;
    return bytes;
}

void Connection::end_sending() {
    if (::shutdown(socket_.get(), SHUT_WR) != 0) fail("end sending");
}

void Connection::reset() {
    const linger now{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    socket_.reset();
}

bool Connection::echoes(std::string_view text) {
    send(text);
    return receive(text.size()) == text;
}

int Connection::reconnect(const SocketAddress& to) {
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    if (const int error = plain_connect(socket_.get(), &nowhere, sizeof nowhere)) return error;
    return connect_to(socket_.get(), to, false, {});
}

std::string Connection::ending(Milliseconds limit_of_wait) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (::poll(&readable, 1, static_cast<int>(limit_of_wait.count())) == 0) return "silence";
    char byte;
    const ssize_t n = ::recv(socket_.get(), &byte, 1, 0);
    if (n > 0) return "data";
    if (n == 0) return "end";
    return errno == ECONNRESET ? "reset" : std::system_category().message(errno);
}

std::string fate(int netns, const Dial& dial, Milliseconds limit) {
    try {
        return Connection::open(netns, dial).ending(limit);
    } catch (const std::system_error& failure) {
        if (failure.code().value() != ECONNRESET) throw;
        return "reset";
    }
}

}
