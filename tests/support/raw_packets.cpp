// SPDX-License-Identifier: Apache-2.0
#include "raw_packets.hpp"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <system_error>

#include "visit.hpp"

namespace culvert::test {
namespace {

template <class Header>
std::string bytes_of(const Header& header) {
    return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::string tcp_syn(std::uint16_t from, std::uint16_t to) {
    tcphdr tcp{};
    tcp.source = htons(from);
    tcp.dest = htons(to);
    tcp.seq = htonl(1);
    tcp.doff = 5;
    tcp.syn = 1;
    tcp.window = htons(65535);
    return bytes_of(tcp);
}

}

std::string ipv4_syn(const SocketAddress& from, const SocketAddress& to) {
    const std::string tcp = tcp_syn(from.port, to.port);
    iphdr ip{};
    ip.version = 4;
    ip.ihl = 5;
    ip.ttl = 64;
    ip.protocol = IPPROTO_TCP;
    ip.id = htons(4711);
    ip.tot_len = htons(static_cast<std::uint16_t>(sizeof ip + tcp.size()));
    std::memcpy(&ip.saddr, from.ip.bytes.data() + 12, 4);
    std::memcpy(&ip.daddr, to.ip.bytes.data() + 12, 4);
    return bytes_of(ip) + tcp;
}

std::string ipv6_syn(const SocketAddress& from, const SocketAddress& to) {
    const std::string tcp = tcp_syn(from.port, to.port);
    ip6_hdr ip{};
    ip.ip6_vfc = 6 << 4;
    ip.ip6_plen = htons(static_cast<std::uint16_t>(tcp.size()));
    ip.ip6_nxt = IPPROTO_TCP;
    ip.ip6_hlim = 64;
    std::memcpy(&ip.ip6_src, from.ip.bytes.data(), 16);
    std::memcpy(&ip.ip6_dst, to.ip.bytes.data(), 16);
    return bytes_of(ip) + tcp;
}

std::string ipv4_first_fragment(std::string packet, std::size_t payload) {
    packet.resize(sizeof(iphdr) + payload);
    iphdr ip;
    std::memcpy(&ip, packet.data(), sizeof ip);
    ip.frag_off = htons(IP_MF);
    ip.tot_len = htons(static_cast<std::uint16_t>(packet.size()));
    return bytes_of(ip) + packet.substr(sizeof ip);
}

void send_raw(int netns, const std::string& packet) {
    const bool v6 = (packet[0] & 0xf0) == 0x60;
    visit(netns, [&] {
        base::Fd socket{::socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};
        sockaddr_in6 to6{};
        to6.sin6_family = AF_INET6;
        sockaddr_in to4{};
        to4.sin_family = AF_INET;
        if (v6) std::memcpy(&to6.sin6_addr, packet.data() + 24, 16);
        if (!v6) std::memcpy(&to4.sin_addr, packet.data() + 16, 4);
        const auto* to = v6 ? reinterpret_cast<sockaddr*>(&to6) : reinterpret_cast<sockaddr*>(&to4);
        const socklen_t length = v6 ? sizeof to6 : sizeof to4;
        // A guard's refusal may come back as an error of send; that is what the caller waits to see counted.
        if (::sendto(socket.get(), packet.data(), packet.size(), 0, to, length) < 0 && errno != ENOBUFS &&
            errno != EPERM)
            throw std::system_error(errno, std::system_category(), "send a raw packet");
    });
}

}
