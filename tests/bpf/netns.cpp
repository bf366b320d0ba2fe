// SPDX-License-Identifier: Apache-2.0
#include "netns.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <culvert/base/netns.hpp>

namespace culvert::test {

namespace {

using base::Fd;

constexpr const char *node_mac = "02:00:00:00:77:01", *pod_mac = "02:00:00:00:77:02";

void must(const std::string& command) {
    if (std::system(command.c_str()) != 0) throw std::runtime_error{"failed: " + command};
}

sockaddr_storage raw_address(const char* ip, std::uint16_t port, socklen_t& size) {
    sockaddr_storage raw{};
    size = base::SocketAddress{*base::IpAddress::parse(ip), port}.to(raw);
    return raw;
}

}

Namespaces::Namespaces(NamespaceOptions options) {
    static std::atomic<int> counter;
    std::string id = std::to_string(::getpid()) + "-" + std::to_string(counter++);
    node_name_ = "cvt-node-" + id;
    pod_name_ = "cvt-pod-" + id;
    std::string in_pod = "ip -n " + pod_name_ + " ", in_node = "ip -n " + node_name_ + " ";
    must("ip netns add " + node_name_ + " && ip netns add " + pod_name_);
    must(in_node + "link add veth0 address " + node_mac + " type veth peer name eth0 address " + pod_mac + " netns " +
         pod_name_);
    if (!options.pod_has_ipv6)
        must("ip netns exec " + pod_name_ + " sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6'");
    must(in_node + "link set lo up && " + in_pod + "link set lo up");
    must(in_node + "addr add 10.77.0.1/24 dev veth0 && " + in_pod + "addr add 10.77.0.2/24 dev eth0");
    must(in_node + "addr add fd77::1/64 dev veth0 nodad");
    if (options.pod_has_ipv6) must(in_pod + "addr add fd77::2/64 dev eth0 nodad");
    must(in_node + "link set veth0 up && " + in_pod + "link set eth0 up");
    must(in_pod + "route add default via 10.77.0.1");
    if (options.pod_has_ipv6) must(in_pod + "route add default via fd77::1");
    // The first neighbour solicitation of a new veth gets no answer, the second comes a second later.
    must(in_node + "neigh replace fd77::2 lladdr " + pod_mac + " dev veth0");
    if (options.pod_has_ipv6) must(in_pod + "neigh replace fd77::1 lladdr " + node_mac + " dev eth0");
    node_ = std::move(*base::open_netns("/run/netns/" + node_name_));
    pod_ = std::move(*base::open_netns("/run/netns/" + pod_name_));
}

Namespaces::~Namespaces() {
    if (std::system(("ip netns del " + pod_name_ + "; ip netns del " + node_name_).c_str()) != 0)
        std::fprintf(stderr, "left behind: netns %s, %s\n", pod_name_.c_str(), node_name_.c_str());
}

Nested::Nested(const Namespaces& in) : name_{in.pod_name() + "-vm"} {
    std::string in_pod = "ip -n " + in.pod_name() + " ", inside = "ip -n " + name_ + " ";
    must("ip netns add " + name_);
    must(in_pod + "link add vm address " + node_mac + " type veth peer name eth0 address " + pod_mac + " netns " +
         name_);
    must(in_pod + "addr add 10.78.0.1/24 dev vm && " + inside + "addr add 10.78.0.2/24 dev eth0");
    must(in_pod + "addr add fd78::1/64 dev vm nodad && " + inside + "addr add fd78::2/64 dev eth0 nodad");
    must(in_pod + "link set vm up && " + inside + "link set eth0 up && " + inside + "link set lo up");
    must(inside + "route add default via 10.78.0.1 && " + inside + "route add default via fd78::1");
    must(in_pod + "neigh replace fd78::2 lladdr " + pod_mac + " dev vm && " + inside + "neigh replace fd78::1 lladdr " +
         node_mac + " dev eth0");
    netns_ = std::move(*base::open_netns("/run/netns/" + name_));
    interface_ = *base::in_netns(in.pod(), [] { return ::if_nametoindex("vm"); });
}

Nested::~Nested() {
    if (std::system(("ip netns del " + name_).c_str()) != 0) std::fprintf(stderr, "left behind: %s\n", name_.c_str());
}

std::string Namespaces::run(const std::string& command) const {
    std::string full = "POD=" + pod_name_ + "; NODE=" + node_name_ + "; " + command;
    std::string output;
    FILE* pipe = ::popen(full.c_str(), "re");
    char buffer[4096];
    while (std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
    ::pclose(pipe);
    return output;
}

Fd listen_in(int netns, const char* ip, std::uint16_t port, int mark) {
    auto made = base::in_netns(netns, [&] {
        socklen_t size;
        auto raw = raw_address(ip, port, size);
        Fd fd{::socket(raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        int one = 1;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (mark) ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0 || ::listen(fd.get(), 16) != 0)
            throw std::runtime_error{"cannot listen on " + std::string{ip}};
        return fd;
    });
    return std::move(*made);
}

int reconnect(int fd, const char* ip, std::uint16_t port, int limit_ms) {
    socklen_t size;
    auto raw = raw_address(ip, port, size);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), size) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    pollfd poll{fd, POLLOUT, 0};
    if (::poll(&poll, 1, limit_ms) != 1) return ETIMEDOUT;
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

void disconnect(int fd) {
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    ::connect(fd, &none, sizeof none);
}

Connection connect_in(int netns, const char* ip, std::uint16_t port, ConnectOptions options) {
    auto made = base::in_netns(netns, [&]() -> base::Result<Connection> {
        Connection connection;
        int family = base::IpAddress::parse(ip)->family();
        connection.fd = Fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        int fd = connection.fd.get();
        if (options.mark) ::setsockopt(fd, SOL_SOCKET, SO_MARK, &options.mark, sizeof options.mark);
        if (options.device) ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.device, 5);
        auto began = std::chrono::steady_clock::now();
        connection.error = reconnect(fd, ip, port, options.limit_ms);
        std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
        connection.milliseconds = took.count();
        return connection;
    });
    return std::move(*made);
}

Fd accept_from(int listener, int limit_ms) {
    pollfd poll{listener, POLLIN, 0};
    if (::poll(&poll, 1, limit_ms) != 1) return {};
    return Fd{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
}

Tap::Tap(const Namespaces& at, const char* device) {
    auto made = base::in_netns(at.node(), [device] {
        Fd fd{::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))};
        sockaddr_ll where{};
        where.sll_family = AF_PACKET;
        where.sll_protocol = htons(ETH_P_ALL);
        where.sll_ifindex = static_cast<int>(::if_nametoindex(device));
        ::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), sizeof where);
        return fd;
    });
    socket_ = std::move(*made);
}

Tap::Seen Tap::look() {
    Seen seen;
    unsigned char packet[128];
    while (::recv(socket_.get(), packet, sizeof packet, MSG_TRUNC) > 0) {
        bool is_tcp = packet[0] >> 4 == 4 ? packet[9] == IPPROTO_TCP : packet[6] == IPPROTO_TCP;
        if (!is_tcp || (packet[0] >> 4 != 4 && packet[0] >> 4 != 6)) continue;
        unsigned flags = packet[(packet[0] >> 4 == 4 ? 20 : 40) + 13];
        ++seen.tcp;
        if ((flags & 0x12) == 0x12) ++seen.syn_acks;
        if (flags & 0x04) ++seen.resets;
    }
    return seen;
}

}
