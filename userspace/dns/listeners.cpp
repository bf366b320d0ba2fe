// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <sys/socket.h>

#include <culvert/base/netns.hpp>
#include <culvert/bpf/marks.h>
#include <culvert/dns/server.hpp>

namespace culvert::dns {
namespace {

using base::Fd;
using base::Result;

constexpr int backlog = 128;

Result<Fd> open_one(const base::SocketAddress& at, Transport transport, bool shared_port) {
    const std::string what = "listen on " + at.to_string() + (transport == Transport::udp ? "/udp" : "/tcp");
    const int type = transport == Transport::udp ? SOCK_DGRAM : SOCK_STREAM;
    Fd fd{::socket(at.ip.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!fd) return base::errno_while(what);
    const int one = 1;
    const std::uint32_t mark = CV_MARK_PROXY;
    // Answers must not be sent back to us by the rules that sent the questions.
    int refused = ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
    if (at.ip.family() == AF_INET6) refused |= ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (transport == Transport::tcp) refused |= ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared_port) refused |= ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    sockaddr_storage raw;
    socklen_t size = at.to(raw);
    if (refused != 0 || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0) return base::errno_while(what);
    if (transport == Transport::tcp && ::listen(fd.get(), backlog) != 0) return base::errno_while(what);
    return fd;
}

bool says_no_ipv6(const base::SocketAddress& at, const base::Error& error) {
    int code = error.code.value();
    return at.ip.family() == AF_INET6 && (code == EAFNOSUPPORT || code == EADDRNOTAVAIL);
}

}

Result<std::vector<Listener>> open_listeners(int netns, const std::vector<base::SocketAddress>& addresses,
                                             bool shared_port) {
    return base::in_netns(netns, [&]() -> Result<std::vector<Listener>> {
        std::vector<Listener> listeners;
        for (const auto& address : addresses)
            for (Transport transport : {Transport::udp, Transport::tcp}) {
                auto fd = open_one(address, transport, shared_port);
                if (fd)
                    listeners.push_back({transport, std::move(*fd)});
                else if (!says_no_ipv6(address, fd.error()))
                    return fd.error();
            }
        return listeners;
    });
}

std::vector<base::SocketAddress> loopback(std::uint16_t port) {
    return {{*base::IpAddress::parse("127.0.0.1"), port}, {*base::IpAddress::parse("::1"), port}};
}

}
