// SPDX-License-Identifier: Apache-2.0
#include "sock_diag.hpp"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include <culvert/base/fd.hpp>

namespace culvert::capture {

namespace {

// TCP_SYN_SENT and TCP_SYN_RECV; linux/tcp.h and netinet/tcp.h cannot both be had.
constexpr unsigned handshakes = 1u << 2 | 1u << 3;

using Netlink = base::Handle<mnl_socket, mnl_socket_close>;

struct Connecting {
    int family;
    inet_diag_sockid id;
};

int collect(const nlmsghdr* message, void* data) {
    auto* found = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
    static_cast<std::vector<Connecting>*>(data)->push_back({found->idiag_family, found->id});
    return MNL_CB_OK;
}

template <class Body>
int ask(mnl_socket& netlink, std::uint16_t type, std::uint16_t flags, const Body& body, mnl_cb_t answer, void* data) {
    alignas(nlmsghdr) char buffer[32768];
    nlmsghdr* request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = type;
    request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    *static_cast<Body*>(mnl_nlmsg_put_extra_header(request, sizeof body)) = body;
    if (mnl_socket_sendto(&netlink, request, request->nlmsg_len) < 0) return errno;
    for (;;) {
        auto got = mnl_socket_recvfrom(&netlink, buffer, sizeof buffer);
        if (got < 0) return errno;
        int said = mnl_cb_run(buffer, static_cast<std::size_t>(got), 0, 0, answer, data);
        if (said < 0) return errno;
        if (said == MNL_CB_STOP) return 0;
    }
}

}

base::Result<int> end_connecting_sockets() {
    Netlink netlink{mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC)};
    if (!netlink || mnl_socket_bind(netlink.get(), 0, MNL_SOCKET_AUTOPID) < 0)
        return base::errno_while("open a sock_diag socket in the pod");

    // In the older form, which knows no family: the kernel walks through the sockets of all pods, once and not twice.
    std::vector<Connecting> connecting;
    inet_diag_req all{};
    all.idiag_states = handshakes;
    if (int err = ask(*netlink, TCPDIAG_GETSOCK, NLM_F_DUMP, all, collect, &connecting); err != 0 && err != ENOENT)
        return base::errno_while("list the pod's connecting sockets", err);
    int ended = 0;
    for (const Connecting& socket : connecting) {
        inet_diag_req_v2 body{};
        body.sdiag_family = static_cast<__u8>(socket.family);
        body.sdiag_protocol = IPPROTO_TCP;
        body.idiag_states = handshakes;
        body.id = socket.id;
        int err = ask(*netlink, SOCK_DESTROY, NLM_F_ACK, body, nullptr, nullptr);
        if (err == EOPNOTSUPP)
            return base::problem(
                "this kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY): connections that were "
                "just being made when the pod was enrolled time out");
        if (err == 0) ++ended;  // else it has connected or gone meanwhile
    }
    return ended;
}

}
