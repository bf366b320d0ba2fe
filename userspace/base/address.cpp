// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/address.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace culvert::base {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// inet_ntop() goes through printf, and every connection is named a few times. Room for 15 bytes; returns the end.
char* write_v4(const IpAddress& ip, char* out) {
    for (int i = 12; i < 16; ++i) {
        if (i > 12) *out++ = '.';
        out = std::to_chars(out, out + 3, ip.bytes[i]).ptr;
    }
    return out;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return port;
}

}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
    char buffer[INET6_ADDRSTRLEN]{};
    std::memcpy(buffer, text.data(), text.size());
    IpAddress ip;
    if (::inet_pton(AF_INET6, buffer, ip.bytes.data()) == 1) return ip;
    if (::inet_pton(AF_INET, buffer, ip.bytes.data() + 12) != 1) return std::nullopt;
    std::ranges::copy(mapped_prefix, ip.bytes.begin());
    return ip;
}

IpAddress IpAddress::any(int family) {
    IpAddress ip;
    if (family == AF_INET) std::ranges::copy(mapped_prefix, ip.bytes.begin());
    return ip;
}

bool IpAddress::is_v4() const noexcept {
    return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin());
}

bool IpAddress::is_loopback() const noexcept {
    if (is_v4()) return bytes[12] == 127;
    return bytes[15] == 1 && std::all_of(bytes.begin(), bytes.end() - 1, [](auto b) { return b == 0; });
}

bool IpAddress::is_unspecified() const noexcept {
    return *this == any(AF_INET) || *this == any(AF_INET6);
}

IpAddress IpAddress::network() const noexcept {
    IpAddress network = *this;
    if (!is_v4()) std::fill(network.bytes.begin() + 8, network.bytes.end(), std::uint8_t{0});
    return network;
}

std::string IpAddress::to_string() const {
    char text[INET6_ADDRSTRLEN];
    if (is_v4()) return {text, write_v4(*this, text)};
    ::inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
    return text;
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
    auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    auto ip = IpAddress::parse(host);
    auto port = parse_port(text.substr(colon + 1));
    if (!ip || !port || bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
    return SocketAddress{*ip, *port};
}

SocketAddress SocketAddress::from(const sockaddr_storage& raw) noexcept {
    SocketAddress out;
    if (raw.ss_family == AF_INET) {
        sockaddr_in v4;
        std::memcpy(&v4, &raw, sizeof v4);
        std::ranges::copy(mapped_prefix, out.ip.bytes.begin());
        std::memcpy(out.ip.bytes.data() + 12, &v4.sin_addr, 4);
        out.port = ntohs(v4.sin_port);
    } else if (raw.ss_family == AF_INET6) {
        sockaddr_in6 v6;
        std::memcpy(&v6, &raw, sizeof v6);
        std::memcpy(out.ip.bytes.data(), &v6.sin6_addr, 16);
        out.port = ntohs(v6.sin6_port);
    }
    return out;
}

socklen_t SocketAddress::to(sockaddr_storage& raw) const noexcept {
    raw = {};
    if (ip.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, ip.bytes.data() + 12, 4);
        std::memcpy(&raw, &v4, sizeof v4);
        return sizeof v4;
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, ip.bytes.data(), 16);
    std::memcpy(&raw, &v6, sizeof v6);
    return sizeof v6;
}

std::string SocketAddress::to_string() const {
    char text[INET6_ADDRSTRLEN + sizeof "[]:65535"];
    char* end = text;
    if (ip.is_v4()) {
        end = write_v4(ip, text);
    } else {
        *end++ = '[';
        ::inet_ntop(AF_INET6, ip.bytes.data(), end, INET6_ADDRSTRLEN);
        end += std::strlen(end);
        *end++ = ']';
    }
    *end++ = ':';
    end = std::to_chars(end, text + sizeof text, port).ptr;
    return {text, end};
}

SocketAddress local_address(int fd) noexcept {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return {};
    return SocketAddress::from(raw);
}

SocketAddress peer_address(int fd) noexcept {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return {};
    return SocketAddress::from(raw);
}

std::size_t IpHash::operator()(const IpAddress& ip) const noexcept {
    std::uint64_t high, low;
    std::memcpy(&high, ip.bytes.data(), 8);
    std::memcpy(&low, ip.bytes.data() + 8, 8);
    return (high * 0x9e3779b97f4a7c15ull) ^ (low * 0xc2b2ae3d27d4eb4full) ^ (low >> 29);
}

}
