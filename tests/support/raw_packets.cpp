// SPDX-License-Identifier: Apache-2.0
#include "raw_packets.hpp"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>
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

// One's complement sum of 16 bit words.
std::uint16_t checksum(const std::string& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (i % 2 == 0 ? 8 : 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

// The packet ends with a TCP header, and begins with an IP header that has the addresses at `at`.
std::string with_checksum(std::string packet, std::size_t at, std::size_t addresses) {
    const std::string tcp = packet.substr(packet.size() - sizeof(tcphdr));
    const std::string pseudo{'\0', IPPROTO_TCP, '\0', static_cast<char>(tcp.size())};
    const std::uint16_t sum = htons(checksum(packet.substr(at, addresses) + pseudo + tcp));
    std::memcpy(packet.data() + packet.size() - sizeof(tcphdr) + offsetof(tcphdr, check), &sum, sizeof sum);
    return packet;
}

// `header`'s first byte is where it says what follows it.
std::string with_header(const std::string& packet, std::uint8_t kind, std::string header) {
    ip6_hdr ip;
    std::memcpy(&ip, packet.data(), sizeof ip);
    header[0] = static_cast<char>(ip.ip6_nxt);
    ip.ip6_nxt = kind;
    ip.ip6_plen = htons(static_cast<std::uint16_t>(packet.size() - sizeof ip + header.size()));
    return bytes_of(ip) + header + packet.substr(sizeof ip);
}

// What a guard refuses may come back as an error of send; that is what the caller waits to see counted.
void must_be_sent(ssize_t result) {
    if (result < 0 && errno != ENOBUFS && errno != EPERM)
        throw std::system_error(errno, std::system_category(), "send a raw packet");
}

bool is_ipv6(const std::string& packet) {
    return (packet[0] & 0xf0) == 0x60;
}

const std::string sender{"\x02\0\0\0\0\x07", 6};

std::string kind_of(const std::string& packet) {
    return is_ipv6(packet) ? std::string{"\x86\xdd"} : std::string{"\x08\0", 2};
}

void send_frame(int netns, const std::string& device, const std::string& frame) {
    visit(netns, [&] {
        base::Fd socket{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
        sockaddr_ll where{};
        where.sll_family = AF_PACKET;
        std::memcpy(&where.sll_protocol, frame.data() + 12, 2);
        where.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
        must_be_sent(
            ::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&where), sizeof where));
    });
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
    ip.check = htons(checksum(bytes_of(ip)));
    return with_checksum(bytes_of(ip) + tcp, offsetof(iphdr, saddr), 8);
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
    return with_checksum(bytes_of(ip) + tcp, offsetof(ip6_hdr, ip6_src), 32);
}

std::string ipv4_first_fragment(std::string packet, std::size_t payload) {
    packet.resize(sizeof(iphdr) + payload);
    iphdr ip;
    std::memcpy(&ip, packet.data(), sizeof ip);
    ip.frag_off = htons(IP_MF);
    ip.tot_len = htons(static_cast<std::uint16_t>(packet.size()));
    return bytes_of(ip) + packet.substr(sizeof ip);
}

std::string ipv6_first_fragment(const std::string& packet, std::size_t payload) {
    using namespace std::string_literals;
    return with_header(packet.substr(0, sizeof(ip6_hdr) + payload), IPPROTO_FRAGMENT, "\0\0\0\1\x12\x34\x56\x78"s);
}

std::string behind_options(const std::string& packet) {
    using namespace std::string_literals;
    return with_header(packet, IPPROTO_DSTOPTS, "\0\0\1\4\0\0\0\0"s);  // one option: padding
}

std::string by_way_of(const std::string& packet, const IpAddress& via) {
    using namespace std::string_literals;
    const std::string last = packet.substr(offsetof(ip6_hdr, ip6_dst), 16);
    const std::string first{reinterpret_cast<const char*>(via.bytes.data()), 16};
    // 4 words more than the first, of type 4, one segment left of two.
    std::string routed = with_header(packet, IPPROTO_ROUTING, "\0\4\4\1\1\0\0\0"s + last + first);
    return routed.replace(offsetof(ip6_hdr, ip6_dst), 16, first);
}

void send_raw(int netns, const std::string& packet) {
    const bool v6 = is_ipv6(packet);
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
        must_be_sent(::sendto(socket.get(), packet.data(), packet.size(), 0, to, length));
    });
}

void send_tagged(int netns, const std::string& packet) {
    const std::string anybody(6, '\xff');
    const std::string tag{"\x81\0\xe0\0", 4};
    send_frame(netns, "eth0", anybody + sender + tag + kind_of(packet) + packet);
}

void send_into(const Pod& pod, int node_netns, const std::string& packet) {
    const std::string to = visit(pod.netns(), [] {
        base::Fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        ifreq asked{};
        std::strcpy(asked.ifr_name, "eth0");
        if (::ioctl(socket.get(), SIOCGIFHWADDR, &asked) != 0)
            throw std::system_error(errno, std::system_category(), "ask for a link address");
        return std::string{asked.ifr_hwaddr.sa_data, 6};
    });
    send_frame(node_netns, pod.host_link(), to + sender + kind_of(packet) + packet);
}

}
