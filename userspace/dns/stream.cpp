// SPDX-License-Identifier: Apache-2.0
#include "stream.hpp"

#include <sys/socket.h>

#include <span>

namespace culvert::dns {
namespace {

using base::Result;

base::Task<Result<>> read_whole(base::Socket& socket, std::span<std::uint8_t> into) {
    while (!into.empty()) {
        auto got = ::recv(socket.fd(), into.data(), into.size(), 0);
        if (got == 0) co_return base::problem("the connection has ended");
        if (got > 0) {
            into = into.subspan(static_cast<std::size_t>(got));
            continue;
        }
        if (errno != EAGAIN) co_return base::errno_while("read a DNS message");
        socket.drained();
        co_await socket.wait_readable();
    }
    co_return Result<>{};
}

}

base::Task<Result<Bytes>> read_message(base::Socket& socket) {
    std::array<std::uint8_t, 2> length{};
    auto reading = read_whole(socket, length);
    auto read = co_await std::move(reading);
    if (!read) co_return read.error();
    Bytes message(static_cast<std::size_t>(length[0] << 8 | length[1]));
    auto rest = read_whole(socket, message);
    read = co_await std::move(rest);
    if (!read) co_return read.error();
    co_return std::move(message);
}

base::Task<Result<>> write_message(base::Socket& socket, Bytes message) {
    const std::uint8_t length[] = {static_cast<std::uint8_t>(message.size() >> 8),
                                   static_cast<std::uint8_t>(message.size())};
    message.insert(message.begin(), std::begin(length), std::end(length));
    std::span<const std::uint8_t> left{message};
    while (!left.empty()) {
        auto sent = ::send(socket.fd(), left.data(), left.size(), MSG_NOSIGNAL);
        if (sent > 0) {
            left = left.subspan(static_cast<std::size_t>(sent));
            continue;
        }
        if (errno != EAGAIN) co_return base::errno_while("write a DNS message");
        socket.congested();
        co_await socket.wait_writable();
    }
    co_return Result<>{};
}

}
