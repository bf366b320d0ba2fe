// SPDX-License-Identifier: Apache-2.0
#include "raw_peer.hpp"

#include <sys/socket.h>

namespace fixtures {

std::string bytes_of(std::uint32_t number) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xff);
    return bytes;
}

std::uint32_t number_of(const std::string& payload, std::size_t at) {
    std::uint32_t number = 0;
    for (std::size_t i = at; i < at + 4; ++i) number = number << 8 | static_cast<std::uint8_t>(payload.at(i));
    return number;
}

std::string connect_to(const std::string& authority) {
    // Literals without indexing, names from the static table: 2 is :method, 1 is :authority.
    return std::string{"\x02\x07"} + "CONNECT" + std::string{"\x01"} + static_cast<char>(authority.size()) + authority;
}

RawPeer::RawPeer(std::unique_ptr<base::Socket> s, tls::Channel c)
    : socket{std::move(s)}, channel{std::move(c)}, cipher_(64 * 1024) {
    (void)base::set_nodelay(socket->fd()).has_value();
}

Task<std::unique_ptr<RawPeer>> RawPeer::accepted(World& w) {
    base::Fd fd;
    w.takes_connection = [&fd](base::Fd taken) { fd = std::move(taken); };
    bool came = co_await w.until([&] { return static_cast<bool>(fd); });
    w.takes_connection = nullptr;
    CHECK(came);
    if (!came) co_return nullptr;
    auto peer = std::make_unique<RawPeer>(std::move(*base::Socket::watch(w.loop, std::move(fd))),
                                          std::move(*tls::Channel::server(w.server_credentials)));
    bool done = co_await peer->handshake();
    CHECK(done);
    co_return peer;
}

Task<std::unique_ptr<RawPeer>> RawPeer::connected(World& w) {
    base::Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    auto socket = co_await base::connect(w.loop, std::move(fd), w.address);
    CHECK(socket.has_value());
    auto peer = std::make_unique<RawPeer>(std::move(*socket),
                                          std::move(*tls::Channel::client(w.client_credentials, w.accepted)));
    bool done = co_await peer->handshake();
    CHECK(done);
    peer->send_raw(preface);
    peer->send(SETTINGS, 0, 0);
    co_return peer;
}

void RawPeer::flush() {
    if (!out_.empty()) CHECK(::send(socket->fd(), out_.data(), out_.size(), MSG_NOSIGNAL) > 0);
    out_.clear();
}

Task<bool> RawPeer::handshake() {
    channel.write_to(out_);
    for (;;) {
        auto done = channel.handshake();
        flush();
        if (!done) co_return false;
        if (*done) co_return true;
        for (;;) {
            co_await socket->wait_readable();
            ssize_t n = ::recv(socket->fd(), cipher_.data(), cipher_.size(), 0);
            if (n == 0) co_return false;
            if (n > 0) channel.receive({cipher_.data(), static_cast<std::size_t>(n)});
            if (n > 0) break;
            socket->drained();
        }
    }
}

Task<bool> RawPeer::more() {
    channel.write_to(out_);
    char room[20'000];
    for (;;) {
        auto opened = channel.open(std::as_writable_bytes(std::span{room}));
        if (!opened) co_return false;
        if (*opened > 0) {
            plain_.append(room, *opened);
            co_return true;
        }
        said_goodbye |= channel.peer_closed();
        co_await socket->wait_readable();
        ssize_t n = ::recv(socket->fd(), cipher_.data(), cipher_.size(), 0);
        if (n > 0) channel.receive({cipher_.data(), static_cast<std::size_t>(n)});
        if (n == 0) co_return false;
        if (n < 0 && errno != EAGAIN) co_return false;
        if (n < 0) socket->drained();
    }
}

Task<std::string> RawPeer::take(std::size_t bytes) {
    while (plain_.size() < bytes) {
        bool came = co_await more();
        if (!came) break;
    }
    std::string taken = plain_.substr(0, bytes);
    plain_.erase(0, bytes);
    co_return taken;
}

Task<std::optional<Frame>> RawPeer::next() {
    // Frames that are all here already would each nest deeper on the stack: without optimisation GCC makes no tail
    // calls.
    if (++frames_ % 64 == 0) co_await base::sleep_for(socket->loop(), 0ms);
    std::string header = co_await take(9);
    if (header.size() < 9) co_return std::nullopt;
    Frame frame{static_cast<std::uint8_t>(header[3]), static_cast<std::uint8_t>(header[4]), number_of(header, 5), {}};
    frame.payload = co_await take(number_of(header) >> 8);
    co_return frame;
}

Task<std::optional<Frame>> RawPeer::next(std::uint8_t type) {
    for (;;) {
        auto frame = co_await next();
        if (!frame || frame->type == type) co_return frame;
        if (frame->type == SETTINGS && !(frame->flags & ACK)) send(SETTINGS, ACK, 0);
        if (frame->type == PING && !(frame->flags & ACK) && answers_pings) send(PING, ACK, 0, frame->payload);
    }
}

void RawPeer::send(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const std::string& payload) {
    std::string frame = bytes_of(static_cast<std::uint32_t>(payload.size()) << 8 | type);
    frame += static_cast<char>(flags);
    send_raw(frame + bytes_of(stream) + payload);
}

void RawPeer::send_raw(const std::string& plaintext) {
    channel.write_to(out_);
    CHECK(channel.seal(std::as_bytes(std::span{plaintext})).has_value());
    flush();
}

void RawPeer::close_notify() {
    channel.write_to(out_);
    channel.close();
    flush();
}

}
