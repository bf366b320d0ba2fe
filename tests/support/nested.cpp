// SPDX-License-Identifier: Apache-2.0
#include "nested.hpp"

#include <unistd.h>

#include <stdexcept>

#include <culvert/base/netns.hpp>

#include "process.hpp"

namespace culvert::test {
namespace {

void shell(const std::string& script, int netns) {
    must({"sh", "-ec", script}, netns);
}

}

Netns::Netns(const std::string& name) : name_{"nested" + std::to_string(::getpid()) + name} {
    must({"ip", "netns", "add", name_});
    auto netns = base::open_netns(path());
    if (!netns) throw std::runtime_error(netns.error().to_string());
    netns_ = std::move(*netns);
    shell("ip link set lo up", get());
}

Netns::~Netns() {
    netns_.reset();
    run({"ip", "netns", "del", name_});
}

Nested::Nested(const Pod& pod) : pod_{pod.netns()} {
    shell(
        "ip link add br-vm type bridge; ip address add 10.200.0.1/24 dev br-vm; "
        "ip address add fd20::1/64 dev br-vm nodad; ip link set br-vm up; "
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; "
        "iptables -w -t nat -A POSTROUTING -s 10.200.0.0/24 -o eth0 -j MASQUERADE; "
        "ip6tables -w -t nat -A POSTROUTING -s fd20::/64 -o eth0 -j MASQUERADE",
        pod_);
    plug(inner, "tap2", "2");
    plug(second, "tap3", "3");
}

Nested::~Nested() {
    run({"ip", "link", "del", "br-vm"}, pod_);
    for (const char* program : {"iptables", "ip6tables"}) run({program, "-w", "-t", "nat", "-F", "POSTROUTING"}, pod_);
}

IpAddress Nested::ip(Family family, int number) {
    return *IpAddress::parse((family == Family::v4 ? "10.200.0." : "fd20::") + std::to_string(number));
}

void Nested::plug(const Netns& netns, const std::string& cable, const std::string& number) const {
    shell("ip link add " + cable + " type veth peer name eth0 netns " + netns.path() + "; ip link set " + cable +
              " master br-vm up",
          pod_);
    shell("ip address add 10.200.0." + number + "/24 dev eth0; ip address add fd20::" + number +
              "/64 dev eth0 nodad; ip link set eth0 up; ip route add default via 10.200.0.1; "
              "ip route add default via fd20::1",
          netns.get());
}

}
