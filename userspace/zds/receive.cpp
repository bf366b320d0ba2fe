// SPDX-License-Identifier: Apache-2.0
#include "receive.hpp"

#include <sys/socket.h>

#include <cstring>

#include "conversation.hpp"

namespace culvert::zds {

namespace {

constexpr std::size_t most_descriptors = 8;  // all that come are ours to close

void take_descriptors(const cmsghdr& header, std::vector<base::Fd>& into) {
    if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS) return;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= header.cmsg_len; at += sizeof(int)) {
        int raw = -1;
        std::memcpy(&raw, reinterpret_cast<const char*>(&header) + at, sizeof raw);
        into.emplace_back(raw);
    }
}

}

base::Result<Received> receive(int socket) {
    char bytes[most_bytes];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_descriptors)];
    iovec data{bytes, sizeof bytes};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) return base::errno_while("hear from the agent");
    Received received;
    received.message.assign(bytes, static_cast<std::size_t>(got));
    for (cmsghdr* one = CMSG_FIRSTHDR(&header); one; one = CMSG_NXTHDR(&header, one))
        take_descriptors(*one, received.descriptors);
    received.cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    return received;
}

}
