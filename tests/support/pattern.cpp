// SPDX-License-Identifier: Apache-2.0
#include "pattern.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <random>
#include <system_error>
#include <vector>

namespace culvert::test {
namespace {

constexpr std::size_t table_bytes = 1'000'003;  // prime: no buffer size or frame size divides it

}

Pattern::Pattern(std::uint64_t seed) : table_(table_bytes, '\0') {
    std::mt19937_64 random{seed};
    for (char& byte : table_) byte = static_cast<char>(random());
}

std::string_view Pattern::at(std::uint64_t offset, std::size_t most) const {
    return std::string_view{table_}.substr(offset % table_bytes, most);
}

bool Pattern::matches(std::uint64_t offset, std::string_view bytes) const {
    while (!bytes.empty()) {
        const std::string_view own = at(offset, bytes.size());
        if (bytes.substr(0, own.size()) != own) return false;
        offset += own.size();
        bytes.remove_prefix(own.size());
    }
    return true;
}

void pour(Connection& connection, const Pattern& pattern, std::uint64_t bytes) {
    for (std::uint64_t offset = 0; offset < bytes;) {
        const std::string_view chunk = pattern.at(offset, std::min<std::uint64_t>(bytes - offset, 256 * 1024));
        connection.send(chunk);
        offset += chunk.size();
    }
}

std::uint64_t stuff(Connection& connection, const Pattern& pattern, std::uint64_t most, Milliseconds quiet) {
    std::uint64_t offset = 0;
    while (offset < most) {
        pollfd writable{connection.fd(), POLLOUT, 0};
        if (::poll(&writable, 1, static_cast<int>(quiet.count())) == 0) break;
        const std::string_view chunk = pattern.at(offset, std::min<std::uint64_t>(most - offset, 256 * 1024));
        const ssize_t n = ::send(connection.fd(), chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) throw std::system_error(errno, std::system_category(), "send");
        if (n > 0) offset += static_cast<std::uint64_t>(n);
    }
    return offset;
}

Received drain(Connection& connection, const Pattern& pattern, std::uint64_t most) {
    Received received;
    std::vector<char> buffer(256 * 1024);
    while (received.bytes < most) {
        const auto room = std::min<std::uint64_t>(buffer.size(), most - received.bytes);
        const ssize_t n = ::recv(connection.fd(), buffer.data(), room, 0);
        if (n < 0) throw std::system_error(errno == EAGAIN ? ETIMEDOUT : errno, std::system_category(), "receive");
        if (n == 0) break;
        if (!received.first_wrong && !pattern.matches(received.bytes, {buffer.data(), static_cast<std::size_t>(n)}))
            received.first_wrong = received.bytes;
        received.bytes += static_cast<std::uint64_t>(n);
    }
    return received;
}

}
