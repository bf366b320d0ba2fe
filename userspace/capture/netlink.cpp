// SPDX-License-Identifier: Apache-2.0
#include "netlink.hpp"

#include <linux/fib_rules.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <linux/if.h>
#include <sys/socket.h>

#include <cstring>

namespace culvert::capture {

using base::Result;

namespace {

// Says in `ip rule` and `ip route` whose they are, and lets us remove our own only.
constexpr std::uint8_t our_protocol = 67;

class Request {
public:
    Request(std::uint16_t type, std::uint16_t flags) {
        header_ = mnl_nlmsg_put_header(buffer_);
        header_->nlmsg_type = type;
        header_->nlmsg_flags = NLM_F_REQUEST | flags;
    }
    template <class Body>
    Body* body() {
        return static_cast<Body*>(mnl_nlmsg_put_extra_header(header_, sizeof(Body)));
    }
    nlmsghdr* get() { return header_; }

private:
    alignas(nlmsghdr) char buffer_[512]{};
    nlmsghdr* header_;
};

template <std::size_t N>
struct Attributes {
    const nlattr* at[N]{};

    static int collect(const nlattr* attribute, void* self) {
        auto type = mnl_attr_get_type(attribute);
        if (type < N) static_cast<Attributes*>(self)->at[type] = attribute;
        return MNL_CB_OK;
    }
    Attributes(const nlmsghdr* message, unsigned body) { mnl_attr_parse(message, body, collect, this); }
};

int collect_interface(const nlmsghdr* message, void* data) {
    auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
    Attributes<IFLA_MASTER + 1> attributes{message, sizeof *info};
    if (info->ifi_flags & IFF_LOOPBACK) return MNL_CB_OK;
    static_cast<std::vector<Interface>*>(data)->push_back(
        {.index = info->ifi_index,
         .name = attributes.at[IFLA_IFNAME] ? mnl_attr_get_str(attributes.at[IFLA_IFNAME]) : "",
         .ethernet = info->ifi_type == ARPHRD_ETHER,
         .master = attributes.at[IFLA_MASTER] ? static_cast<int>(mnl_attr_get_u32(attributes.at[IFLA_MASTER])) : 0,
         .up = (info->ifi_flags & IFF_UP) != 0});
    return MNL_CB_OK;
}

std::optional<base::IpAddress> address_in(const nlattr* attribute, int family) {
    if (!attribute || mnl_attr_get_payload_len(attribute) != (family == AF_INET ? 4 : 16)) return {};
    base::IpAddress ip;
    auto* bytes = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
    if (family == AF_INET) {
        ip.bytes[10] = ip.bytes[11] = 0xff;
        std::memcpy(ip.bytes.data() + 12, bytes, 4);
    } else {
        std::memcpy(ip.bytes.data(), bytes, 16);
    }
    return ip;
}

int collect_address(const nlmsghdr* message, void* data) {
    auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) return MNL_CB_OK;
    Attributes<IFA_MAX + 1> attributes{message, sizeof *info};
    // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
    const nlattr* ours = attributes.at[IFA_LOCAL] ? attributes.at[IFA_LOCAL] : attributes.at[IFA_ADDRESS];
    if (auto ip = address_in(ours, info->ifa_family))
        static_cast<std::vector<InterfaceAddress>*>(data)->push_back(
            {.interface = static_cast<int>(info->ifa_index),
             .family = info->ifa_family,
             .ip = *ip,
             .global = info->ifa_scope == RT_SCOPE_UNIVERSE,
             .secondary = (info->ifa_flags & IFA_F_SECONDARY) != 0});
    return MNL_CB_OK;
}

void put_address(nlmsghdr* message, std::uint16_t type, int family, const base::IpAddress& ip) {
    if (family == AF_INET)
        mnl_attr_put(message, type, 4, ip.bytes.data() + 12);
    else
        mnl_attr_put(message, type, 16, ip.bytes.data());
}

Request rule_request(std::uint16_t type, std::uint16_t flags, const Rule& rule) {
    Request request{type, static_cast<std::uint16_t>(flags | NLM_F_ACK)};
    auto* body = request.body<fib_rule_hdr>();
    body->family = static_cast<std::uint8_t>(rule.family);
    body->action = rule.table ? FR_ACT_TO_TBL : FR_ACT_PROHIBIT;
    body->table = static_cast<std::uint8_t>(rule.table);
    mnl_attr_put_u32(request.get(), FRA_PRIORITY, rule.priority);
    if (rule.mask != 0) {
        mnl_attr_put_u32(request.get(), FRA_FWMARK, rule.mark);
        mnl_attr_put_u32(request.get(), FRA_FWMASK, rule.mask);
    }
    if (!rule.interface.empty()) mnl_attr_put_strz(request.get(), FRA_IIFNAME, rule.interface.c_str());
    if (rule.protocol != 0) mnl_attr_put_u8(request.get(), FRA_IP_PROTO, static_cast<std::uint8_t>(rule.protocol));
    if (rule.port != 0) {
        const fib_rule_port_range only{rule.port, rule.port};
        mnl_attr_put(request.get(), FRA_DPORT_RANGE, sizeof only, &only);
    }
    mnl_attr_put_u8(request.get(), FRA_PROTOCOL, our_protocol);
    return request;
}

std::uint32_t number_in(const nlattr* attribute, std::uint32_t otherwise = 0) {
    return attribute ? mnl_attr_get_u32(attribute) : otherwise;
}

std::uint16_t first_port_in(const nlattr* range) {
    if (!range || mnl_attr_get_payload_len(range) < sizeof(fib_rule_port_range)) return 0;
    return static_cast<const fib_rule_port_range*>(mnl_attr_get_payload(range))->start;
}

int collect_our_rule(const nlmsghdr* message, void* data) {
    auto* body = static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(message));
    Attributes<FRA_MAX + 1> attributes{message, sizeof *body};
    const nlattr* protocol = attributes.at[FRA_PROTOCOL];
    if (!protocol || mnl_attr_get_u8(protocol) != our_protocol) return MNL_CB_OK;
    const nlattr* carried = attributes.at[FRA_IP_PROTO];
    static_cast<std::vector<Rule>*>(data)->push_back(
        {.family = body->family,
         .priority = number_in(attributes.at[FRA_PRIORITY]),
         .mark = number_in(attributes.at[FRA_FWMARK]),
         .mask = number_in(attributes.at[FRA_FWMASK]),
         .table =
             body->action == FR_ACT_TO_TBL ? static_cast<int>(number_in(attributes.at[FRA_TABLE], body->table)) : 0,
         .interface = attributes.at[FRA_IIFNAME] ? mnl_attr_get_str(attributes.at[FRA_IIFNAME]) : "",
         .protocol = carried ? mnl_attr_get_u8(carried) : 0,
         .port = first_port_in(attributes.at[FRA_DPORT_RANGE])});
    return MNL_CB_OK;
}

struct OurRoutes {
    int table;
    std::vector<LocalRoute> found;
};

int collect_our_route(const nlmsghdr* message, void* data) {
    auto* wanted = static_cast<OurRoutes*>(data);
    auto* body = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    Attributes<RTA_MAX + 1> attributes{message, sizeof *body};
    int table = static_cast<int>(number_in(attributes.at[RTA_TABLE], body->rtm_table));
    if (table != wanted->table || body->rtm_protocol != our_protocol) return MNL_CB_OK;
    wanted->found.push_back({.family = body->rtm_family,
                             .interface = static_cast<int>(number_in(attributes.at[RTA_OIF])),
                             .table = table,
                             .metric = number_in(attributes.at[RTA_PRIORITY]),
                             .source = address_in(attributes.at[RTA_PREFSRC], body->rtm_family),
                             .prohibit = body->rtm_type == RTN_PROHIBIT});
    return MNL_CB_OK;
}

Request route_request(std::uint16_t type, std::uint16_t flags, const LocalRoute& route) {
    Request request{type, static_cast<std::uint16_t>(flags | NLM_F_ACK)};
    auto* body = request.body<rtmsg>();
    body->rtm_family = static_cast<std::uint8_t>(route.family);
    body->rtm_table = static_cast<std::uint8_t>(route.table);
    body->rtm_protocol = our_protocol;
    body->rtm_scope = route.prohibit ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST;
    body->rtm_type = route.prohibit ? RTN_PROHIBIT : RTN_LOCAL;
    if (!route.prohibit) mnl_attr_put_u32(request.get(), RTA_OIF, static_cast<std::uint32_t>(route.interface));
    mnl_attr_put_u32(request.get(), RTA_PRIORITY, route.metric);
    if (route.source) put_address(request.get(), RTA_PREFSRC, route.family, *route.source);
    return request;
}

// Of a family that was never there, or a table that is empty.
bool is_nothing(int err) {
    return err == EAFNOSUPPORT || err == EOPNOTSUPP || err == ENOENT;
}

}

Result<Rtnetlink> Rtnetlink::open() {
    Socket socket{mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)};
    if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0)
        return base::errno_while("open a netlink socket in the pod");
    // The kernel filters by table, however many routes a pod has; kernels that cannot list all, and we filter.
    int on = 1;
    mnl_socket_setsockopt(socket.get(), NETLINK_GET_STRICT_CHK, &on, sizeof on);
    return Rtnetlink{std::move(socket)};
}

int Rtnetlink::ask(nlmsghdr* request, mnl_cb_t answer, void* data) {
    request->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) return errno;
    alignas(nlmsghdr) char buffer[32768];
    auto port = mnl_socket_get_portid(socket_.get());
    for (;;) {
        auto got = mnl_socket_recvfrom(socket_.get(), buffer, sizeof buffer);
        if (got < 0) return errno;
        int said = mnl_cb_run(buffer, static_cast<std::size_t>(got), sequence_, port, answer, data);
        if (said < 0) return errno;
        if (said == MNL_CB_STOP) return 0;
    }
}

Result<std::vector<Interface>> Rtnetlink::interfaces() {
    std::vector<Interface> found;
    Request request{RTM_GETLINK, NLM_F_DUMP};
    request.body<ifinfomsg>()->ifi_family = AF_UNSPEC;
    if (int err = ask(request.get(), collect_interface, &found))
        return base::errno_while("list the pod's interfaces", err);
    return found;
}

Result<std::vector<InterfaceAddress>> Rtnetlink::addresses() {
    std::vector<InterfaceAddress> found;
    Request request{RTM_GETADDR, NLM_F_DUMP};
    request.body<ifaddrmsg>()->ifa_family = AF_UNSPEC;
    if (int err = ask(request.get(), collect_address, &found))
        return base::errno_while("list the pod's addresses", err);
    return found;
}

Result<> Rtnetlink::add(const Rule& rule) {
    auto request = rule_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
    if (int err = ask(request.get()); err != 0 && err != EEXIST)
        return base::errno_while("add ip rule " + std::to_string(rule.priority), err);
    return {};
}

Result<> Rtnetlink::remove(const Rule& rule) {
    for (;;) {  // as often as it is there
        auto request = rule_request(RTM_DELRULE, 0, rule);
        int err = ask(request.get());
        if (err == ENOENT || err == EAFNOSUPPORT) return {};
        if (err != 0) return base::errno_while("remove ip rule " + std::to_string(rule.priority), err);
    }
}

Result<std::vector<Rule>> Rtnetlink::rules(int family) {
    std::vector<Rule> found;
    Request request{RTM_GETRULE, NLM_F_DUMP};
    request.body<fib_rule_hdr>()->family = static_cast<std::uint8_t>(family);
    if (int err = ask(request.get(), collect_our_rule, &found); err != 0 && !is_nothing(err))
        return base::errno_while("list the pod's rules", err);
    return found;
}

Result<std::vector<LocalRoute>> Rtnetlink::routes(int family, int table) {
    OurRoutes ours{table, {}};
    Request request{RTM_GETROUTE, NLM_F_DUMP};
    auto* body = request.body<rtmsg>();
    body->rtm_family = static_cast<std::uint8_t>(family);
    body->rtm_table = static_cast<std::uint8_t>(table);
    if (int err = ask(request.get(), collect_our_route, &ours); err != 0 && !is_nothing(err))
        return base::errno_while("list the pod's routes", err);
    return std::move(ours.found);
}

Result<> Rtnetlink::put(const LocalRoute& route) {
    auto request = route_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
    if (int err = ask(request.get()); err != 0 && err != EEXIST)
        return base::errno_while("add local route by interface " + std::to_string(route.interface), err);
    return {};
}

Result<> Rtnetlink::remove(const LocalRoute& route) {
    auto request = route_request(RTM_DELROUTE, 0, route);
    if (int err = ask(request.get()); err != 0 && err != ESRCH) return base::errno_while("remove a route of ours", err);
    return {};
}

Result<base::Fd> open_change_socket() {
    base::Fd socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
    sockaddr_nl groups{};
    groups.nl_family = AF_NETLINK;
    groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_TC | RTMGRP_IPV4_RULE |
                       1u << (RTNLGRP_IPV6_RULE - 1) | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&groups), sizeof groups) != 0)
        return base::errno_while("listen for changes in the pod's network");
    return socket;
}

}
