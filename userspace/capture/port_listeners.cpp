// SPDX-License-Identifier: Apache-2.0
#include "port_listeners.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <culvert/base/address.hpp>
#include <culvert/base/socket.hpp>

#include "listeners.hpp"
#include "rules.hpp"

namespace culvert::capture {

namespace {

using base::Fd;
using base::Result;

struct Port {
    Arrival arrival;
    std::uint16_t port;
};
constexpr Port ports[] = {{Arrival::outbound, outbound_port},
                          {Arrival::inbound_plain, inbound_plain_port},
                          {Arrival::inbound_hbone, tunnel_port}};

Result<Fd> open_listener(int family, Arrival arrival, std::uint16_t port) {
    std::string what = "listen on the pod's port " + std::to_string(port);
    Fd fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::errno_while(what);
    int one = 1;
    bool v4 = family == AF_INET;
    // Not transparent: calls from one client port to two of the pod's ports look alike once redirected. The kernel
    // gives the second another source port, and takes its SYN back from the first one's socket, unless that is
    // transparent.
    int refused = ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!v4) refused |= ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (refused) return base::errno_while(what);
    // Before listen(): the rules of an earlier daemon send connections at once, and what is accepted inherits this.
    if (arrival != Arrival::inbound_hbone)
        if (auto set = base::set_reset_on_close(fd.get(), true); !set) return set.error();
    sockaddr_storage raw{};
    socklen_t size = base::SocketAddress{base::IpAddress::any(family), port}.to(raw);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0 || ::listen(fd.get(), listen_backlog) != 0) {
        if (errno == EADDRINUSE)
            what += ", which is taken: no app in the pod, and no other mesh's proxy, may have 15001, 15006 or 15008";
        return base::errno_while(what);
    }
    return fd;
}

bool says_no_ipv6(const base::Error& error) {
    int code = error.code.value();
    return code == EAFNOSUPPORT || code == EADDRNOTAVAIL;
}

}

Result<std::vector<Listener>> open_port_listeners(unsigned workers, bool ipv6) {
    std::vector<Listener> listeners;
    for (int family : {AF_INET, AF_INET6}) {
        if (family == AF_INET6 && !ipv6) continue;
        for (Port port : ports) {
            auto fd = open_listener(family, port.arrival, port.port);
            if (!fd && family == AF_INET6 && says_no_ipv6(fd.error())) break;
            if (!fd) return fd.error();
            for (unsigned worker = 0; worker < workers; ++worker) {
                Fd share{::fcntl(fd->get(), F_DUPFD_CLOEXEC, 3)};
                if (!share) return base::errno_while("share a listener with a worker");
                listeners.push_back(
                    {.arrival = port.arrival,
                     .family = family,
                     .worker = worker,
                     .fd = std::move(share),
                     .shared = true,
                     .redirected_to = port.arrival == Arrival::inbound_hbone ? std::uint16_t{0} : port.port});
            }
        }
    }
    return listeners;
}

}
