// SPDX-License-Identifier: Apache-2.0
#include "dial.hpp"

#include <netinet/in.h>

#include <algorithm>

#include <culvert/base/netns.hpp>

namespace culvert::proxy {
namespace {

using SocketResult = base::Result<std::unique_ptr<base::Socket>>;

base::Result<base::Fd> own_socket(Context& context, const LocalPod& pod, int family, capture::OwnSocket kind,
                                  WhenClosed when_closed) {
    auto made = base::in_netns(pod.netns->get(), [family]() -> base::Result<base::Fd> {
        base::Fd fd{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP)};
        if (!fd) return base::errno_while("make a socket in the pod");
        return fd;
    });
    if (!made) return made;
    if (pod.only_port == 0)
        if (auto claimed = context.shared.capture.claim(made->get(), kind); !claimed) return claimed.error();
    if (auto set = base::set_nodelay(made->get()); !set) return set.error();
    if (when_closed == WhenClosed::cut)
        if (auto set = base::set_reset_on_close(made->get(), true); !set) return set.error();
    // A leg never leaves the pod's kernel: neither end can vanish without the other's being told.
    if (kind != capture::OwnSocket::dial) return made;
    if (auto set = base::set_keepalive(made->get(), context.limits.keepalive); !set) return set.error();
    return made;
}

// Below Linux's ephemeral range (ip_local_port_range, 32768-60999 by default) and above the registered services' ports.
constexpr std::uint16_t first_leg_port = 10'240;
constexpr std::uint16_t leg_ports = 32'768 - first_leg_port;

// From somewhere else next time: long-lived legs lie side by side, and their neighbours are taken as well.
void leave_neighbourhood(Context& context) {
    context.next_leg_port = static_cast<std::uint16_t>(first_leg_port + context.random() % leg_ports);
}

// In order, so that a port rests as long as can be before it comes again.
std::uint16_t take_leg_port(Context& context) {
    if (context.next_leg_port == 0) leave_neighbourhood(context);
    std::uint16_t port = context.next_leg_port++;
    if (context.next_leg_port >= first_leg_port + leg_ports) context.next_leg_port = first_leg_port;
    return port;
}

base::Result<> bind_as(int fd, const base::SocketAddress& client) {
    int on = 1;
    bool v4 = client.ip.is_v4();
    if (::setsockopt(fd, v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6}, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on,
                     sizeof on) != 0)
        return base::errno_while("take the client's address");
    // Lets several legs share one address and port as long as they lead to different apps.
    if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return base::errno_while("share the client's port");
    sockaddr_storage raw;
    socklen_t length = client.to(raw);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0)
        return base::errno_while("bind " + client.to_string() + " in the pod");
    return {};
}

base::Task<SocketResult> dial_app_once(Context& context, PodPtr pod, base::IpAddress client, base::SocketAddress app,
                                       capture::OwnSocket kind, base::Loop::Clock::duration limit) {
    auto fd = own_socket(context, *pod, app.ip.family(), kind, WhenClosed::cut);
    if (!fd) co_return fd.error();
    // A pod that calls itself keeps its own address: the kernel picks it.
    if (client != app.ip && pod->only_port == 0) {
        auto bound = bind_as(fd->get(), {client, take_leg_port(context)});
        if (!bound) co_return bound.error();
    }
    auto work = base::connect(context.loop, std::move(*fd), app);
    auto socket = co_await base::within(context.loop, limit, "connect to " + app.to_string(), std::move(work));
    co_return socket;
}

}

std::string dial_failure(const base::Error& error) {
    return error.code.value() == ETIMEDOUT ? "deadline has elapsed" : error.cause();
}

base::Task<SocketResult> dial_out(Context& context, PodPtr pod, base::SocketAddress to, WhenClosed when_closed) {
    auto fd = own_socket(context, *pod, to.ip.family(), capture::OwnSocket::dial, when_closed);
    if (!fd) co_return fd.error();
    auto work = base::connect(context.loop, std::move(*fd), to);
    auto socket =
        co_await base::within(context.loop, context.limits.connect, "connect to " + to.to_string(), std::move(work));
    co_return socket;
}

bool still_has(const LocalPod& pod, const base::IpAddress& ip) {
    auto has = base::in_netns(pod.netns->get(), [&ip]() -> base::Result<bool> {
        base::Fd fd{::socket(ip.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        sockaddr_storage raw;
        socklen_t length = base::SocketAddress{ip, 0}.to(raw);
        return !fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), length) == 0 || errno != EADDRNOTAVAIL;
    });
    return !has || *has;
}

base::Task<SocketResult> dial_app(Context& context, PodPtr pod, base::IpAddress client, base::SocketAddress app,
                                  capture::OwnSocket kind) {
    // A port may be taken (EADDRINUSE, EADDRNOTAVAIL), or equal one of the client's own live connections, in which case
    // nothing answers: hence tries that are short at first, each from another port.
    constexpr int most_taken = 8;
    auto until = base::Loop::Clock::now() + context.limits.connect;
    base::Loop::Clock::duration patience = std::chrono::milliseconds{200};
    for (int taken = 0;;) {
        auto left =
            std::max<base::Loop::Clock::duration>(until - base::Loop::Clock::now(), std::chrono::milliseconds{1});
        auto socket = co_await dial_app_once(context, pod, client, app, kind, std::min(patience, left));
        if (socket) co_return socket;
        int error = socket.error().code.value();
        bool silent = error == ETIMEDOUT && patience < left;
        bool refused = (error == EADDRINUSE || error == EADDRNOTAVAIL) && ++taken < most_taken;
        if (!silent && !refused) co_return socket;
        if (silent) patience *= 2;
        leave_neighbourhood(context);
    }
}

}
