// SPDX-License-Identifier: Apache-2.0
#include "tap.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "visit.hpp"

namespace culvert::test {
namespace {

constexpr std::uint16_t tunnel_port = 15008;
constexpr int buffer_bytes = 64 << 20;  // a bulk test's burst, while the recorder waits for a core

std::uint16_t port_at(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(static_cast<std::uint8_t>(bytes[at]) << 8 |
                                      static_cast<std::uint8_t>(bytes[at + 1]));
}

IpAddress address_at(std::string_view bytes, std::size_t at, std::size_t size) {
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes.data() + at, text, sizeof text);
    return *IpAddress::parse(text);
}

std::optional<Packet> parse_tcp(std::string_view tcp, IpAddress from, IpAddress to) {
    if (tcp.size() < 20) return {};
    const std::size_t header = static_cast<std::size_t>(static_cast<std::uint8_t>(tcp[12]) >> 4) * 4;
    return Packet{{from, port_at(tcp, 0)},
                  {to, port_at(tcp, 2)},
                  static_cast<std::uint8_t>(tcp[13]),
                  std::string{tcp.substr(std::min(header, tcp.size()))}};
}

// An Ethernet frame; nothing for what is not TCP over IP.
std::optional<Packet> parse(std::string_view frame) {
    if (frame.size() < 14) return {};
    const std::string_view ip = frame.substr(14);
    const std::uint16_t type = port_at(frame, 12);
    if (type == ETH_P_IP && ip.size() >= 20 && ip[9] == IPPROTO_TCP) {
        // Without the padding that short frames carry.
        const std::size_t length = std::min<std::size_t>(port_at(ip, 2), ip.size());
        const std::size_t header = static_cast<std::size_t>(ip[0] & 0xf) * 4;
        return parse_tcp(ip.substr(0, length).substr(std::min(header, length)), address_at(ip, 12, 4),
                         address_at(ip, 16, 4));
    }
    if (type == ETH_P_IPV6 && ip.size() >= 40 && ip[6] == IPPROTO_TCP)
        return parse_tcp(ip.substr(40), address_at(ip, 8, 16), address_at(ip, 24, 16));
    return {};
}

}

Tap::Tap(int netns, const std::string& device, std::string secret) : secret_{std::move(secret)} {
    socket_ = visit(netns, [&] {
        base::Fd socket{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
        sockaddr_ll where{};
        where.sll_family = AF_PACKET;
        where.sll_protocol = htons(ETH_P_ALL);
        where.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
        const int bytes = buffer_bytes;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
        const timeval soon{0, 50'000};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
        if (where.sll_ifindex == 0 || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) != 0)
            throw std::system_error(errno, std::system_category(), "tap " + device);
        return socket;
    });
    recorder_ = std::thread([this] { record(); });
}

Tap::~Tap() {
    ending_ = true;
    recorder_.join();
}

void Tap::record() {
    std::string frame(70'000, '\0');
    while (!ending_) {
        std::unique_lock lock{mutex_};
        const ssize_t n = ::recv(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT);
        if (n > 0) {
            const std::string_view bytes{frame.data(), static_cast<std::size_t>(n)};
            const bool readable = secret_.empty() || bytes.find(secret_) != std::string_view::npos;
            if (auto packet = parse(bytes)) {
                if (readable || !packet->touches(tunnel_port)) packets_.push_back(std::move(*packet));
            } else if (readable) {
                others_.emplace_back(bytes);
            }
            continue;
        }
        lock.unlock();
        char peek;
        ::recv(socket_.get(), &peek, 1, MSG_PEEK);  // sleeps until there is one, or for a moment
    }
}

void Tap::catch_up(std::unique_lock<std::mutex>& lock) const {
    for (int waiting = 0; ::ioctl(socket_.get(), FIONREAD, &waiting) == 0 && waiting != 0;) {
        lock.unlock();
        std::this_thread::yield();
        lock.lock();
    }
}

std::vector<Packet> Tap::packets() const {
    std::unique_lock lock{mutex_};
    catch_up(lock);
    return packets_;
}

std::vector<std::string> Tap::others() const {
    std::unique_lock lock{mutex_};
    catch_up(lock);
    return others_;
}

std::string Tap::list(const std::vector<Packet>& packets) {
    std::string text;
    for (std::size_t i = 0; i < std::min<std::size_t>(packets.size(), 20); ++i)
        text += packets[i].from.to_string() + " > " + packets[i].to.to_string() + " +" +
                std::to_string(packets[i].payload.size()) + "\n";
    return text + "(" + std::to_string(packets.size()) + " packets)";
}

std::vector<Packet> outside_tunnels(const std::vector<Packet>& packets) {
    std::vector<Packet> others;
    std::ranges::copy_if(packets, std::back_inserter(others), [](const Packet& p) { return !p.touches(tunnel_port); });
    return others;
}

std::vector<Packet> holding(const std::vector<Packet>& packets, std::string_view text) {
    std::vector<Packet> found;
    std::ranges::copy_if(packets, std::back_inserter(found),
                         [&](const Packet& p) { return p.payload.find(text) != std::string::npos; });
    return found;
}

std::string let_out(const std::vector<Packet>& packets, const std::vector<IpAddress>& targets, std::string_view text) {
    const auto concerned = [&](const SocketAddress& end) { return std::ranges::count(targets, end.ip) > 0; };
    std::vector<Packet> plain = outside_tunnels(packets);
    std::erase_if(plain, [&](const Packet& p) { return !concerned(p.from) && !concerned(p.to); });
    const std::vector<Packet> readable = holding(packets, text);
    return (plain.empty() ? "" : "outside tunnels: " + Tap::list(plain) + "\n") +
           (readable.empty() ? "" : "readable: " + Tap::list(readable) + "\n");
}

std::vector<Packet> not_tls(const std::vector<Packet>& packets) {
    std::vector<Packet> wrong;
    std::set<std::pair<SocketAddress, SocketAddress>> begun;
    for (const Packet& packet : packets) {
        const std::pair direction{packet.from, packet.to};
        if (packet.syn()) begun.erase(direction);
        if (packet.payload.empty() || !begun.insert(direction).second) continue;
        if (packet.payload.size() < 2 || packet.payload[0] < 0x14 || packet.payload[0] > 0x17 ||
            packet.payload[1] != 0x03)
            wrong.push_back(packet);
    }
    return wrong;
}

}
