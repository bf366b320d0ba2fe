// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/socket.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace culvert::base {
namespace {

Result<> set_int(int fd, int level, int name, int value, const char* doing) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0) return errno_while(doing);
    return {};
}

}

Result<> set_keepalive(int fd, const KeepAlive& k) {
    if (auto r = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "enable keepalive"); !r) return r;
    if (auto r = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, k.idle_s, "set keepalive time"); !r) return r;
    if (auto r = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, k.interval_s, "set keepalive interval"); !r) return r;
    if (auto r = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, k.retries, "set keepalive retries"); !r) return r;
    if (k.user_timeout_ms == 0) return {};
    return set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, k.user_timeout_ms, "set user timeout");
}

Result<> set_nodelay(int fd) {
    return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1, "set TCP_NODELAY");
}

Result<> set_reset_on_close(int fd, bool on) {
    linger abort{.l_onoff = on, .l_linger = 0};
    if (::setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort) != 0) return errno_while("set SO_LINGER");
    return {};
}

Result<std::unique_ptr<Socket>> Socket::watch(Loop& loop, Fd fd) {
    std::unique_ptr<Socket> socket{new Socket{loop, std::move(fd)}};
    if (auto started = socket->watch_.start(socket->fd()); !started) return started.error();
    return socket;
}

void Socket::on_ready(std::uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
    if (events & EPOLLRDHUP) peer_half_closed_ = true;
    if (events & (EPOLLHUP | EPOLLERR)) hung_up_ = true;
    changed_.set();
    if (observer_) observer_->on_socket_ready(*this);  // may destroy this socket
}

Task<> Socket::wait_readable() {
    while (!readable_) {
        changed_.reset();
        co_await changed_;
    }
}

Task<> Socket::wait_writable() {
    while (!writable_) {
        changed_.reset();
        co_await changed_;
    }
}

void Socket::finish_writing() noexcept {
    ::shutdown(fd(), SHUT_WR);
}

void Socket::close_with_reset(bool on) noexcept {
    (void)set_reset_on_close(fd(), on);  // which cannot fail on a socket
}

Task<Result<std::unique_ptr<Socket>>> connect(Loop& loop, Fd fd, SocketAddress to) {
    sockaddr_storage raw;
    socklen_t length = to.to(raw);
    auto* address = reinterpret_cast<sockaddr*>(&raw);
    bool done = ::connect(fd.get(), address, length) == 0;
    if (!done && errno != EINPROGRESS) co_return errno_while("connect to " + to.to_string());
    // On one machine the handshake is often over by now, and asking again saves a round of the loop.
    if (!done) {
        done = ::connect(fd.get(), address, length) == 0;
        if (!done && errno != EALREADY && errno != EINPROGRESS) co_return errno_while("connect to " + to.to_string());
    }
    auto socket = Socket::watch(loop, std::move(fd));
    if (!socket) co_return socket.error();
    if (!done) {
        co_await (*socket)->wait_writable();
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt((*socket)->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) co_return errno_while("connect to " + to.to_string(), error);
    }
    co_return std::move(*socket);
}

}
