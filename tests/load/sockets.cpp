// SPDX-License-Identifier: Apache-2.0
#include "sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "watchdog.hpp"

namespace culvert::load {
namespace {

constexpr int on = 1;

bool control(int epoll, int operation, int fd, std::uint64_t tag, std::uint32_t wanted) {
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = tag;
    return ::epoll_ctl(epoll, operation, fd, &event) == 0;
}

}

base::Error nothing_came() {
    return base::problem("nothing came for five seconds");
}

Result<Fd> connect_to(const SocketAddress& address, bool blocking) {
    Fd fd{::socket(address.ip.family(), SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0)};
    if (!fd) return base::errno_while("make a socket");
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_storage raw{};
    const socklen_t length = address.to(raw);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 && errno != EINPROGRESS) {
        if (errno == EINTR) return nothing_came();
        return base::errno_while("connect to " + address.to_string());
    }
    return fd;
}

Result<Fd> listen_on(const SocketAddress& address) {
    Fd fd{::socket(address.ip.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::errno_while("make a socket");
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!address.ip.is_v4()) {
        const int both_families = 0;
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &both_families, sizeof both_families);
    }
    sockaddr_storage raw{};
    const socklen_t length = address.to(raw);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 || ::listen(fd.get(), 4096) != 0) {
        return base::errno_while("listen on " + address.to_string());
    }
    return fd;
}

Result<> make_nonblocking(int fd) {
    if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) return base::errno_while("set O_NONBLOCK");
    return {};
}

void raise_descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

Poller::Poller() : epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
    CV_CHECK(epoll_, "a process may have an epoll");
}

void Poller::add(int fd, std::uint64_t tag, std::uint32_t wanted) {
    CV_CHECK(add_if_possible(fd, tag, wanted), "it is an open socket of ours");
}

bool Poller::add_if_possible(int fd, std::uint64_t tag, std::uint32_t wanted) {
    return control(epoll_.get(), EPOLL_CTL_ADD, fd, tag, wanted);
}

void Poller::change(int fd, std::uint64_t tag, std::uint32_t wanted) {
    CV_CHECK(control(epoll_.get(), EPOLL_CTL_MOD, fd, tag, wanted), "it was added before");
}

int Poller::wait() {
    for (;;) {
        const int n = ::epoll_wait(epoll_.get(), events, std::size(events), -1);
        if (n >= 0) return n;
        if (is_stuck()) return 0;
    }
}

int Poller::wait_at_most(std::uint64_t nanoseconds) {
    const timespec limit{static_cast<time_t>(nanoseconds / 1'000'000'000),
                         static_cast<long>(nanoseconds % 1'000'000'000)};
    return std::max(0, ::epoll_pwait2(epoll_.get(), events, std::size(events), &limit, nullptr));
}

Message::Message(std::size_t bytes) : bytes_(bytes) {
    unsigned state = 12345;
    for (char& byte : bytes_) byte = static_cast<char>((state = state * 1103515245 + 12345) >> 16);
}

const char* Message::stamped(std::uint64_t stamp) noexcept {
    std::memcpy(bytes_.data(), &stamp, std::min(sizeof stamp, bytes_.size()));
    return bytes_.data();
}

bool Message::matches(std::uint64_t stamp, std::size_t offset, const char* got, std::size_t length) noexcept {
    return std::memcmp(stamped(stamp) + offset, got, length) == 0;
}

Result<> send_all(int fd, const char* bytes, std::size_t length) {
    for (std::size_t sent = 0; sent < length;) {
        const ssize_t n = ::send(fd, bytes + sent, length - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            return base::errno_while("send");
        } else if (is_stuck()) {
            return nothing_came();
        }
    }
    return {};
}

Result<> receive_all(int fd, char* bytes, std::size_t length) {
    for (std::size_t got = 0; got < length;) {
        const ssize_t n = ::recv(fd, bytes + got, length - got, 0);
        if (n > 0) {
            got += static_cast<std::size_t>(n);
        } else if (n == 0) {
            return base::problem("the connection ended before the whole answer was there");
        } else if (errno != EINTR) {
            return base::errno_while("receive");
        } else if (is_stuck()) {
            return nothing_came();
        }
    }
    return {};
}

Result<> exchange(int fd, Message& message, std::uint64_t stamp, std::vector<char>& answer) {
    if (const auto sent = send_all(fd, message.stamped(stamp), message.size()); !sent) return sent;
    if (const auto got = receive_all(fd, answer.data(), message.size()); !got) return got;
    if (!message.matches(stamp, 0, answer.data(), message.size())) return base::problem("a wrong byte in an answer");
    return {};
}

Result<bool> Exchange::send_more(Message& message, const std::string& doing) {
    const ssize_t n = ::send(fd.get(), message.stamped(stamp) + sent, message.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return base::errno_while(doing);
    if (n > 0) sent += static_cast<std::size_t>(n);
    return sent == message.size();
}

Result<bool> Exchange::receive_more(Message& message, std::vector<char>& answer) {
    const ssize_t n = ::recv(fd.get(), answer.data(), message.size() - got, 0);
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) return base::errno_while("receive");
    if (n == 0) return base::problem("the connection ended before the whole answer was there");
    if (!message.matches(stamp, got, answer.data(), static_cast<std::size_t>(n)))
        return base::problem("a wrong byte in an answer");
    got += static_cast<std::size_t>(n);
    return got == message.size();
}

}
