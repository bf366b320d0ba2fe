// SPDX-License-Identifier: Apache-2.0
#include "rules_mark.hpp"

#include <netinet/in.h>  // the kernel's headers leave out what this has

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace culvert::capture {

using base::Result;

namespace {

int read_generation(const nlmsghdr* message, void* data) {
    auto take = [](const nlattr* attribute, void* into) {
        if (mnl_attr_get_type(attribute) == NFTA_GEN_ID)
            *static_cast<std::uint32_t*>(into) = mnl_attr_get_u32(attribute);
        return MNL_CB_OK;
    };
    mnl_attr_parse(message, sizeof(nfgenmsg), take, data);
    return MNL_CB_OK;
}

// NFT_MSG_GETGEN; 0 where nobody answers.
std::uint32_t generation(mnl_socket* socket) {
    alignas(nlmsghdr) char buffer[1024];
    nlmsghdr* request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
    request->nlmsg_flags = NLM_F_REQUEST;
    mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg));
    std::uint32_t number = 0;
    if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) return 0;
    const auto got = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
    if (got > 0) mnl_cb_run(buffer, static_cast<std::size_t>(got), 0, 0, read_generation, &number);
    return number;
}

// ipt_getinfo or ip6t_getinfo, as bytes.
template <class Info>
std::string info_of(int socket, int level, int option, const std::string& table) {
    Info info{};
    std::strncpy(info.name, table.c_str(), sizeof info.name - 1);
    socklen_t size = sizeof info;
    if (::getsockopt(socket, level, option, &info, &size) != 0) return "?";
    return {reinterpret_cast<const char*>(&info), sizeof info};
}

}

Result<RulesMark> RulesMark::open(const std::string& kind, std::vector<std::string> tables) {
    RulesMark mark;
    mark.tables_ = std::move(tables);
    if (kind != "-legacy") {
        mark.nft_ = Netlink{mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC)};
        if (!mark.nft_ || mnl_socket_bind(mark.nft_.get(), 0, MNL_SOCKET_AUTOPID) < 0)
            return base::errno_while("ask nftables in the pod");
    }
    if (kind != "-nft") {
        mark.legacy4_ = base::Fd{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};
        if (!mark.legacy4_) return base::errno_while("ask iptables in the pod");
        mark.legacy6_ = base::Fd{::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};  // where there is IPv6
    }
    return mark;
}

std::string RulesMark::now() {
    std::string all;
    if (nft_) all += std::to_string(generation(nft_.get()));
    for (const std::string& table : tables_) {
        if (legacy4_) all += info_of<ipt_getinfo>(legacy4_.get(), SOL_IP, IPT_SO_GET_INFO, table);
        if (legacy6_) all += info_of<ip6t_getinfo>(legacy6_.get(), SOL_IPV6, IP6T_SO_GET_INFO, table);
    }
    return all;
}

}
