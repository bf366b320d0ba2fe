// SPDX-License-Identifier: Apache-2.0
#include "datagram.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace culvert::dns {
namespace {

constexpr std::size_t ipv4_header = 20, ipv6_header = 40, udp_header = 8;
constexpr std::uint16_t dns_port = 53;
constexpr std::uint8_t hops = 64;

void append16(Bytes& to, std::size_t value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

std::uint64_t sum(View bytes) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        total += static_cast<std::uint64_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
    return total;
}

// 0 says that there is no checksum, which its complement does not.
std::uint16_t checksum(std::uint64_t total) {
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    auto folded = static_cast<std::uint16_t>(~total);
    return folded == 0 ? 0xffff : folded;
}

View own_bytes(const base::IpAddress& ip) {
    return View{ip.bytes}.last(ip.is_v4() ? 4 : 16);
}

void append_ipv4(Bytes& packet, const Parties& parties, std::size_t length) {
    packet.insert(packet.end(), {0x45, 0});
    append16(packet, ipv4_header + length);
    append16(packet, 0);       // the kernel's to choose
    append16(packet, 0x4000);  // no fragments: lo takes what there is
    packet.insert(packet.end(), {hops, IPPROTO_UDP});
    append16(packet, 0);  // the kernel fills in the checksum
    for (const auto* ip : {&parties.asked, &parties.client.ip})
        packet.insert(packet.end(), own_bytes(*ip).begin(), own_bytes(*ip).end());
}

void append_ipv6(Bytes& packet, const Parties& parties, std::size_t length) {
    packet.insert(packet.end(), {0x60, 0, 0, 0});
    append16(packet, length);
    packet.insert(packet.end(), {IPPROTO_UDP, hops});
    for (const auto* ip : {&parties.asked, &parties.client.ip})
        packet.insert(packet.end(), ip->bytes.begin(), ip->bytes.end());
}

}

std::optional<Datagram> receive(int fd, std::span<std::uint8_t> buffer) {
    sockaddr_storage from{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo))];
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    auto got = ::recvmsg(fd, &message, 0);
    if (got < 0) return {};
    Datagram datagram{{base::SocketAddress::from(from), {}}, View{buffer.data(), static_cast<std::size_t>(got)}};
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
        base::IpAddress& asked = datagram.parties.asked;
        if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO) {
            in_pktinfo info;
            std::memcpy(&info, CMSG_DATA(one), sizeof info);
            asked = base::IpAddress::any(AF_INET);
            std::memcpy(asked.bytes.data() + 12, &info.ipi_addr, 4);
        } else if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, CMSG_DATA(one), sizeof info);
            std::memcpy(asked.bytes.data(), &info.ipi6_addr, 16);
        }
    }
    return datagram;
}

void send_back(int fd, const Parties& parties, View answer) {
    sockaddr_storage raw;
    socklen_t size = parties.client.to(raw);
    (void)::sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&raw), size);
}

Bytes make_packet(const Parties& parties, View answer) {
    const bool v4 = parties.client.ip.is_v4();
    const std::size_t length = udp_header + answer.size();
    if (v4 != parties.asked.is_v4() || length + (v4 ? ipv4_header : 0) > 0xffff) return {};
    Bytes packet;
    packet.reserve(ipv6_header + length);
    v4 ? append_ipv4(packet, parties, length) : append_ipv6(packet, parties, length);
    const std::size_t udp = packet.size();
    append16(packet, dns_port);
    append16(packet, parties.client.port);
    append16(packet, length);
    append16(packet, 0);
    packet.insert(packet.end(), answer.begin(), answer.end());
    const std::uint16_t check = checksum(sum(own_bytes(parties.asked)) + sum(own_bytes(parties.client.ip)) +
                                         IPPROTO_UDP + length + sum(View{packet}.subspan(udp)));
    packet[udp + 6] = static_cast<std::uint8_t>(check >> 8);
    packet[udp + 7] = static_cast<std::uint8_t>(check);
    return packet;
}

void send_as_asked(int raw, const Parties& parties, View answer) {
    const Bytes packet = make_packet(parties, answer);
    if (packet.empty()) return;
    sockaddr_storage to;
    socklen_t size = base::SocketAddress{parties.client.ip, 0}.to(to);
    (void)::sendto(raw, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to), size);
}

}
