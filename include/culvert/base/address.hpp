// SPDX-License-Identifier: Apache-2.0
// IP and socket addresses in the one form used everywhere: 16 bytes, IPv4 mapped, ports in host order.
#pragma once
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::base {

struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 as ::ffff:a.b.c.d

    static std::optional<IpAddress> parse(std::string_view text);  // "10.0.0.7", "fd00::7"; no brackets
    static IpAddress any(int family);

    bool is_v4() const noexcept;
    int family() const noexcept { return is_v4() ? AF_INET : AF_INET6; }
    bool is_loopback() const noexcept;     // 127/8 and ::1
    bool is_unspecified() const noexcept;  // 0.0.0.0 and ::
    IpAddress network() const noexcept;    // the /64 of an IPv6 address; an IPv4 address itself
    std::string to_string() const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct SocketAddress {
    IpAddress ip;
    std::uint16_t port = 0;  // host order

    // "10.0.0.7:80", "[fd00::7]:80".
    static std::optional<SocketAddress> parse(std::string_view text);
    // Canonical: a v4-mapped IPv6 peer comes out as IPv4. Only AF_INET and AF_INET6; others come out as [::]:0.
    static SocketAddress from(const sockaddr_storage& raw) noexcept;
    // Fills raw in the address's own family and returns the length to pass to the kernel.
    socklen_t to(sockaddr_storage& raw) const noexcept;
    std::string to_string() const;

    friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

// The kernel's answer for a borrowed socket; [::]:0 where it has none.
SocketAddress local_address(int fd) noexcept;
SocketAddress peer_address(int fd) noexcept;

struct IpHash {
    std::size_t operator()(const IpAddress& ip) const noexcept;
};

}
