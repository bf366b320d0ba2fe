// SPDX-License-Identifier: Apache-2.0
#include "first_bytes.hpp"

#include <sys/socket.h>

#include <array>

namespace culvert::proxy {
namespace {

constexpr auto moment = std::chrono::microseconds{100};

std::vector<std::byte> read_some(base::Socket& app) {
    std::array<std::byte, 16 * 1024> room;
    ssize_t n = ::recv(app.fd(), room.data(), room.size(), MSG_DONTWAIT);
    if (n <= 0) return {};
    return {room.begin(), room.begin() + n};
}

struct Readable final : base::Socket::Observer {
    explicit Readable(base::Socket& s) : socket{s}, known{s.loop()} { socket.observe(this); }
    ~Readable() { socket.observe(nullptr); }
    void on_socket_ready(base::Socket&) override {
        if (socket.maybe_readable()) known.set();
    }
    base::Socket& socket;
    base::Event known;
};

}

base::Task<std::vector<std::byte>> first_bytes(base::Socket& app) {
    // Most clients speak first and at once: while the connection was being accepted.
    auto bytes = read_some(app);
    if (!bytes.empty()) co_return bytes;
    Readable readable{app};
    base::Timer enough{app.loop(), [&readable] { readable.known.set(); }};
    enough.arm(moment);
    co_await readable.known;
    if (app.maybe_readable()) bytes = read_some(app);
    co_return bytes;
}

}
