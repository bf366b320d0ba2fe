// SPDX-License-Identifier: Apache-2.0
#include "istio_rules.hpp"

#include <netinet/in.h>  // before the kernel's own

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include <culvert/base/fd.hpp>

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// Sidecars have chains of other names, but for ISTIO_OUTPUT.
constexpr std::string_view iptables_chain = "ISTIO_PRERT";
constexpr std::string_view nftables_chain = "istio-prerouting";
constexpr std::string_view nftables_table = "istio-ambient-";

std::string_view text_in(const nlattr* attribute) {
    return attribute ? mnl_attr_get_str(attribute) : std::string_view{};
}

int look_at_chain(const nlmsghdr* message, void* found) {
    const nlattr* table = nullptr;
    const nlattr* name = nullptr;
    auto* end = static_cast<char*>(mnl_nlmsg_get_payload_tail(message));
    auto* at = static_cast<nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)));
    for (; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<char*>(at))); at = mnl_attr_next(at)) {
        if (mnl_attr_get_type(at) == NFTA_CHAIN_TABLE) table = at;
        if (mnl_attr_get_type(at) == NFTA_CHAIN_NAME) name = at;
    }
    bool is_theirs = text_in(name) == iptables_chain ||
                     (text_in(name) == nftables_chain && text_in(table).starts_with(nftables_table));
    if (is_theirs) *static_cast<bool*>(found) = true;
    return MNL_CB_OK;
}

// Chains of nf_tables, which are those of iptables' newer kind as well.
Result<bool> finds_nf_tables() {
    base::Handle<mnl_socket, mnl_socket_close> socket{mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC)};
    if (!socket) return errno == EPROTONOSUPPORT ? Result<bool>{false} : base::errno_while("ask for nf_tables");
    alignas(nlmsghdr) char buffer[32768];
    auto* request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg));  // all zero: of every family
    for (int tries = 0; tries < 5; ++tries) {
        bool found = false;
        int more = mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0 ? -1 : MNL_CB_OK;
        alignas(nlmsghdr) char answer[32768];
        while (more > 0) {
            auto got = mnl_socket_recvfrom(socket.get(), answer, sizeof answer);
            more = got < 0 ? -1 : mnl_cb_run(answer, static_cast<std::size_t>(got), 0, 0, look_at_chain, &found);
        }
        if (more == MNL_CB_STOP) return found;
        if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOENT) return false;  // not in this kernel
        if (errno != EINTR) return base::errno_while("list the pod's chains of nf_tables");
        // Somebody changed them meanwhile. What is left of the answer is not ours to read any more.
        socket.reset(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
        if (!socket) break;
    }
    return base::problem("the pod's chains of nf_tables do not keep still");
}

// A table that nobody has used is not asked for: the kernel would make it.
bool has_legacy(const char* list, std::string_view table) {
    std::ifstream names{list};
    for (std::string name; std::getline(names, name);)
        if (name == table) return true;
    return false;
}

// A chain's name stands in the table's own form, at its head.
Result<bool> finds_legacy(int family) {
    bool v4 = family == AF_INET;
    constexpr const char* table = "nat";
    if (!has_legacy(v4 ? "/proc/thread-self/net/ip_tables_names" : "/proc/thread-self/net/ip6_tables_names", table))
        return false;
    Fd any{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};  // the raw one that iptables takes wants CAP_NET_RAW
    if (!any) return base::errno_while("ask for the pod's legacy rules");
    int level = v4 ? int{SOL_IP} : int{SOL_IPV6};  // the numbers and the structs are the same
    for (int tries = 0; tries < 5; ++tries) {
        ipt_getinfo info{};
        socklen_t size = sizeof info;
        std::strcpy(info.name, table);
        if (::getsockopt(any.get(), level, IPT_SO_GET_INFO, &info, &size) != 0)
            return base::errno_while("ask for the pod's legacy rules");
        std::vector<char> all(sizeof(ipt_get_entries) + info.size);
        ipt_get_entries head{};
        std::strcpy(head.name, table);
        head.size = info.size;
        std::memcpy(all.data(), &head, sizeof head);
        size = static_cast<socklen_t>(all.size());
        if (::getsockopt(any.get(), level, IPT_SO_GET_ENTRIES, all.data(), &size) == 0)
            return std::string_view{all.data(), all.size()}.find(iptables_chain) != std::string_view::npos;
        if (errno != EAGAIN) return base::errno_while("read the pod's legacy rules");
    }
    return base::problem("the pod's legacy rules do not keep still");
}

}

Result<bool> finds_istio_rules() {
    auto found = finds_nf_tables();
    for (int family : {AF_INET, AF_INET6})
        if (found && !*found) found = finds_legacy(family);
    return found;
}

}
