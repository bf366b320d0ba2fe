// SPDX-License-Identifier: Apache-2.0
// Only TCP is the mesh's: datagrams, pings and other protocols pass a pod's edge as if there were no mesh.
#include <doctest/doctest.h>

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <system_error>

#include "outcome.hpp"
#include "visit.hpp"
#include "world.hpp"

using namespace culvert::test;
using culvert::base::Fd;

namespace {

// A socket for whole packets, bound to its pod's address.
class Letters {
public:
    Letters(const Pod& pod, Family family, int type, int protocol) {
        socket_ = visit(pod.netns(), [&] {
            return Fd{::socket(family == Family::v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol)};
        });
        const timeval limit{10, 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        sockaddr_storage own{};
        const socklen_t length = pod.at(family, 0).to(own);
        if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&own), length) != 0)
            throw std::system_error(errno, std::system_category(), "bind a socket for packets");
    }

    void send(const SocketAddress& to, const std::string& letter) {
        sockaddr_storage raw{};
        const socklen_t length = to.to(raw);
        if (::sendto(socket_.get(), letter.data(), letter.size(), 0, reinterpret_cast<sockaddr*>(&raw), length) < 0)
            throw std::system_error(errno, std::system_category(), "send a packet");
    }

    // Who sent the next one that ends like this; headers may precede it. Nobody: none came in time.
    std::optional<SocketAddress> sender_of(const std::string& text) {
        for (;;) {
            char letter[2048];
            sockaddr_storage raw{};
            socklen_t length = sizeof raw;
            const ssize_t n =
                ::recvfrom(socket_.get(), letter, sizeof letter, 0, reinterpret_cast<sockaddr*>(&raw), &length);
            if (n < 0) return {};
            if (std::string_view{letter, static_cast<std::size_t>(n)}.ends_with(text)) return SocketAddress::from(raw);
        }
    }

    SocketAddress address() const { return culvert::base::local_address(socket_.get()); }

private:
    Fd socket_;
};

std::string bytes_of(const auto& header) {
    return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::uint16_t checksum(const std::string& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        std::uint16_t word;
        std::memcpy(&word, bytes.data() + i, 2);
        sum += word;
    }
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

// An even number of bytes, please. Of ICMPv6 the kernel adds the checksum.
std::string echo_request(Family family, const std::string& text) {
    if (family == Family::v6) {
        icmp6_hdr icmp{};
        icmp.icmp6_type = ICMP6_ECHO_REQUEST;
        return bytes_of(icmp) + text;
    }
    icmphdr icmp{};
    icmp.type = ICMP_ECHO;
    icmp.checksum = checksum(bytes_of(icmp) + text);
    return bytes_of(icmp) + text;
}

// Both inside the mesh, out of it, into it.
std::vector<Path> ways(World& world) {
    return {{"between enrolled pods", world.client, world.far},
            {"out of the mesh", world.client, world.plain2},
            {"into the mesh", world.plain2, world.client},
            {"on the node", world.client, world.plain1}};
}

// There and back, each seeing the other's own address.
void check_exchange(const Path& way, Family family, int type, int protocol) {
    Letters here{way.client, family, type, protocol};
    Letters there{way.server, family, type, protocol};
    here.send(there.address(), "a letter");
    const auto sender = there.sender_of("a letter");
    REQUIRE(sender.has_value());
    CHECK(sender->ip == way.client.ip(family));
    there.send(here.address(), "an answer");
    const auto answerer = here.sender_of("an answer");
    REQUIRE(answerer.has_value());
    CHECK(answerer->ip == way.server.ip(family));
}

}

TEST_SUITE("protocols") {

TEST_CASE("untouched: UDP passes both ways, with both pods' own addresses" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const Path& way : ways(world)) {
            CAPTURE(to_string(family));
            CAPTURE(way.name);
            check_exchange(way, family, SOCK_DGRAM, IPPROTO_UDP);
        }
    }
}

TEST_CASE("untouched: protocol 132 (SCTP) passes both ways, with both pods' own addresses" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        for (const Path& way : ways(world)) {
            CAPTURE(to_string(family));
            CAPTURE(way.name);
            check_exchange(way, family, SOCK_RAW, IPPROTO_SCTP);
        }
    }
}

TEST_CASE("untouched: a ping is answered by the pod it was meant for" BOTH_FAMILIES) {
    World& world = World::shared();
    for (Family family : families()) {
        const int protocol = family == Family::v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
        for (const Path& way : ways(world)) {
            CAPTURE(to_string(family));
            CAPTURE(way.name);
            Letters here{way.client, family, SOCK_RAW, protocol};
            here.send(way.server.at(family, 0), echo_request(family, "are you there?"));
            const auto answerer = here.sender_of("are you there?");
            REQUIRE(answerer.has_value());
            CHECK(answerer->ip == way.server.ip(family));
        }
    }
}

}
