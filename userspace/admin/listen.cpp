// SPDX-License-Identifier: Apache-2.0
#include "listen.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include <culvert/base/log.hpp>

namespace culvert::admin {
namespace {

using base::Fd;
using base::Result;
using base::SocketAddress;

bool set(int fd, int level, int option, int value) {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// errno says why not.
Fd try_listen(const SocketAddress& address) {
    Fd fd{::socket(address.ip.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!fd) return {};
    sockaddr_storage raw;
    auto length = address.to(raw);
    bool listens = set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) &&
                   (address.ip.is_v4() || set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
                   ::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0 && ::listen(fd.get(), 128) == 0;
    if (listens) return fd;
    int why = errno;  // closing may change it
    fd.reset();
    errno = why;
    return {};
}

std::string_view advice(int error) {
    switch (error) {
        case EADDRINUSE:
            return "another process has the port (ss -ltnp shows which); end it, or give this door another one";
        case EADDRNOTAVAIL: return "no interface of this node has the address; give this door another one, or [::]";
        case EACCES: return "ports below 1024 need CAP_NET_BIND_SERVICE; give this door a higher one";
        case EAFNOSUPPORT: return "this node has no IPv6; give this door an IPv4 address";
        default: return "give this door another address, or close it";
    }
}

}

Result<Fd> listen_on(const SocketAddress& address) {
    if (auto fd = try_listen(address)) return fd;
    bool any_v6 = address.ip == base::IpAddress::any(AF_INET6);
    if (any_v6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        SocketAddress v4{base::IpAddress::any(AF_INET), address.port};
        base::log::info("admin", "no IPv6 here: {} instead of {}", v4.to_string(), address.to_string());
        return listen_on(v4);
    }
    int error = errno;
    auto failed = base::errno_while("listen on " + address.to_string(), error);
    return base::problem(failed.to_string() + ": " + std::string{advice(error)});
}

}
