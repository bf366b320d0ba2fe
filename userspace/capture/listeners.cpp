// SPDX-License-Identifier: Apache-2.0
#include "listeners.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <random>

#include <culvert/base/address.hpp>
#include <culvert/bpf/marks.h>

namespace culvert::capture {

namespace {

using base::Fd;
using base::Result;

// Above the kernel's default range for ephemeral ports, so that no app is likely to want it.
constexpr std::uint16_t first_port = 61000;
constexpr unsigned port_tries = 200;

// sk_lookup does not compare addresses, so listeners sit on documentation addresses that no packet can reach. Each has
// an address of its own and all share one port: an app that binds 0.0.0.0 loses one port, not one per listener.
base::SocketAddress place(int family, unsigned number, std::uint16_t port) {
    auto ip = *base::IpAddress::parse(family == AF_INET ? "192.0.2.0" : "2001:db8::");
    ip.bytes[15] = static_cast<std::uint8_t>(1 + number % 254);
    if (family == AF_INET6) ip.bytes[14] = static_cast<std::uint8_t>(number / 254);
    return {ip, port};
}

Result<Fd> open_listener(base::SocketAddress at, Arrival arrival, std::uint16_t redirected_to) {
    int family = at.ip.family();
    Fd fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::errno_while("open a listener");
    int one = 1;
    // Transparent: the SYN-ACK for an address that is not the pod's would not be sent without it. Never SO_REUSEPORT:
    // an app of uid 0 could join the group and take connections from us.
    int refused = family == AF_INET ? ::setsockopt(fd.get(), SOL_IP, IP_TRANSPARENT, &one, sizeof one)
                                    : ::setsockopt(fd.get(), SOL_IPV6, IPV6_TRANSPARENT, &one, sizeof one) |
                                          ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (refused) return base::errno_while("make a listener transparent");
    sockaddr_storage raw{};
    socklen_t size = at.to(raw);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0)
        return base::errno_while("bind a listener to " + at.to_string());
    // Two calls from one port to two ports look alike once redirected. The kernel gives the second another source port,
    // and takes its SYN back from the first one's socket, unless that is transparent.
    int zero = 0;
    if (redirected_to != 0 && arrival == Arrival::inbound_plain &&
        ::setsockopt(fd.get(), family == AF_INET ? int{SOL_IP} : int{SOL_IPV6},
                     family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT, &zero, sizeof zero) != 0)
        return base::errno_while("make a listener ordinary");
    if (::listen(fd.get(), listen_backlog) != 0) return base::errno_while("listen on " + at.to_string());
    // By this mark the guard knows SYN cookies of ours, which have no socket, from those of an app that was reached
    // past us. Not before listen(): cv_sockops takes marks off listeners that it does not know yet.
    std::uint32_t mark = CV_MARK_PROXY;
    if (arrival != Arrival::outbound && ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        return base::errno_while("mark a listener");
    // For the sockets accepted from it: they hold the app's own port, also in TIME_WAIT, and without this an app that
    // restarts would be told EADDRINUSE.
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        return base::errno_while("let apps share ports with a listener's connections");
    return fd;
}

std::uint16_t redirected_to(Arrival arrival, Bringer bringer) {
    if (bringer == Bringer::programs || arrival == Arrival::inbound_hbone) return 0;
    return arrival == Arrival::outbound ? CV_OUTBOUND_PORT : CV_INBOUND_PORT;
}

// Connected to nobody, or sk_lookup could not give it away. Said with each question: which nameserver was meant.
Result<Listener> open_dns(base::SocketAddress at) {
    int family = at.ip.family();
    Fd fd{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::errno_while("open a socket for DNS");
    int one = 1;
    bool v4 = family == AF_INET;
    int refused = v4 ? ::setsockopt(fd.get(), SOL_IP, IP_TRANSPARENT, &one, sizeof one) |
                           ::setsockopt(fd.get(), SOL_IP, IP_PKTINFO, &one, sizeof one)
                     : ::setsockopt(fd.get(), SOL_IPV6, IPV6_TRANSPARENT, &one, sizeof one) |
                           ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one) |
                           ::setsockopt(fd.get(), SOL_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    if (refused) return base::errno_while("make a socket for DNS transparent");
    sockaddr_storage raw{};
    socklen_t size = at.to(raw);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0)
        return base::errno_while("bind a socket for DNS to " + at.to_string());
    Fd answers{::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW)};
    if (!answers) return base::errno_while("open a socket for answers of nameservers, which wants CAP_NET_RAW");
    Listener listener{.arrival = Arrival::dns, .family = family, .worker = 0, .fd = std::move(fd)};
    listener.raw = std::move(answers);
    return listener;
}

Result<> open_family(int family, std::uint16_t port, unsigned workers, Bringer bringer, bool dns,
                     std::vector<Listener>& into) {
    if (dns && bringer == Bringer::programs) {
        auto listener = open_dns(place(family, 0, port));
        if (!listener) return listener.error();
        into.push_back(std::move(*listener));
    }
    unsigned number = 0;
    for (Arrival arrival : {Arrival::outbound, Arrival::inbound_plain, Arrival::inbound_hbone}) {
        auto redirected = redirected_to(arrival, bringer);
        for (unsigned worker = 0; worker < workers; ++worker, ++number) {
            std::uint16_t its_port = static_cast<std::uint16_t>(port + (family == AF_INET ? number / 254 : 0));
            auto fd = open_listener(place(family, number, its_port), arrival, redirected);
            if (!fd) return fd.error();
            into.push_back({.arrival = arrival,
                            .family = family,
                            .worker = worker,
                            .fd = std::move(*fd),
                            .redirected_to = redirected});
        }
    }
    return {};
}

}

Result<std::vector<Listener>> open_listeners(unsigned workers, Bringer bringer, bool dns, bool ipv6) {
    std::minstd_rand pick{std::random_device{}()};
    std::uniform_int_distribution<unsigned> ports{first_port, 65530};
    Result<> opened;
    for (unsigned attempt = 0; attempt < port_tries; ++attempt) {
        std::vector<Listener> listeners;
        auto port = static_cast<std::uint16_t>(ports(pick));
        opened = open_family(AF_INET, port, workers, bringer, dns, listeners);
        if (opened.has_value() && ipv6) {
            // Also where IPv6 is switched off: it may be switched on while the pod lives. Not where the kernel has
            // none.
            opened = open_family(AF_INET6, port, workers, bringer, dns, listeners);
            if (!opened && opened.error().code.value() == EAFNOSUPPORT) opened = {};
        }
        if (opened.has_value()) return listeners;
        if (opened.error().code.value() != EADDRINUSE) break;
    }
    return opened.error();
}

Bringer bringer_of(const std::vector<Listener>& listeners) {
    bool any = std::ranges::any_of(listeners, [](const Listener& one) { return one.redirected_to != 0; });
    return any ? Bringer::rules : Bringer::programs;
}

std::string_view to_string(Bringer bringer) noexcept {
    return bringer == Bringer::rules ? ": outbound by sockops, inbound by istio-cni's rules" : " by ebpf";
}

Result<> bequeath(const std::vector<Listener>& listeners, const base::KeepAlive& keepalive) {
    for (const Listener& listener : listeners) {
        if (listener.arrival == Arrival::dns) continue;
        int fd = listener.fd.get();
        if (auto set = base::set_nodelay(fd); !set) return set;
        if (auto set = base::set_keepalive(fd, keepalive); !set) return set;
        // A tunnel says how it ends, by close_notify. The others' bytes are all that their peers have to go by.
        if (listener.arrival == Arrival::inbound_hbone) continue;
        if (auto set = base::set_reset_on_close(fd, true); !set) return set;
    }
    return {};
}

}
