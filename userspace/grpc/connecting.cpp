// SPDX-License-Identifier: Apache-2.0
#include "connecting.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace culvert::grpc {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// As ztunnel does: a dead peer is found after 300 s of silence and nine probes of 75 s.
void keep_alive(int fd) {
    auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 300);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 75);
    set(IPPROTO_TCP, TCP_KEEPCNT, 9);
}

}

Connecting::Connecting(asio::io_context& io, Endpoint endpoint, std::chrono::milliseconds limit, Done done)
    : endpoint_{std::move(endpoint)}, limit_{limit}, done_{std::move(done)}, io_{io}, timer_{io}, socket_{io} {}

void Connecting::start() {
    error_code no_address;
    auto ip = asio::ip::make_address(endpoint_.host, no_address);
    if (no_address) return resolve();
    addresses_ = {{ip, endpoint_.port}};
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->next({}); });
}

void Connecting::cancel() {
    done_ = nullptr;
    lookup_.reset();
    timer_.cancel();
    error_code ignored;
    socket_.close(ignored);
}

void Connecting::resolve() {
    lookup_.emplace(io_, endpoint_.host, [weak = weak_from_this()](base::Result<std::vector<base::IpAddress>> found) {
        auto self = weak.lock();
        if (!self || !self->done_) return;
        self->lookup_.reset();
        if (!found) return self->finish(found.error());
        for (const base::IpAddress& ip : *found)
            self->addresses_.emplace_back(asio::ip::make_address(ip.to_string()), self->endpoint_.port);
        self->next(base::problem(fmt::format("{} has no address", self->endpoint_.host)));
    });
}

void Connecting::next(base::Error last) {
    if (!done_) return;
    if (tried_ == addresses_.size()) return finish(std::move(last));
    const tcp::endpoint address = addresses_[tried_++];
    const std::string doing = fmt::format(
        "connect to {}{}", endpoint_.authority(),
        address.address().to_string() == endpoint_.host ? "" : fmt::format(" ({})", address.address().to_string()));
    error_code error;
    socket_.close(error);
    socket_.open(address.protocol(), error);
    if (error) return next({error, doing});
    timer_.expires_after(limit_);
    timer_.async_wait([self = shared_from_this(), doing, attempt = tried_](error_code cancelled) {
        if (cancelled || attempt != self->tried_ || !self->done_) return;
        self->next({{ETIMEDOUT, boost::system::system_category()}, doing});
    });
    socket_.async_connect(address, [self = shared_from_this(), doing, attempt = tried_](error_code failed) {
        if (attempt != self->tried_ || !self->done_) return;
        if (failed) return self->next({failed, doing});
        self->connected();
    });
}

void Connecting::connected() {
    timer_.cancel();
    ++tried_;  // the timer may have fired already
    keep_alive(socket_.native_handle());
    error_code ignored;
    socket_.non_blocking(true, ignored);
    finish(std::move(socket_));
}

void Connecting::finish(base::Result<Socket> result) {
    timer_.cancel();
    if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
}

}
