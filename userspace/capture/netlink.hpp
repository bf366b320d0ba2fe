// SPDX-License-Identifier: Apache-2.0
// Rules, routes, links and addresses of one network namespace, by rtnetlink.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <libmnl/libmnl.h>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

struct Interface {
    int index;
    std::string name;
    bool ethernet;   // packets carry an Ethernet header
    int master = 0;  // the bridge it is a port of
    bool up = true;
    friend bool operator==(const Interface&, const Interface&) = default;
};

struct InterfaceAddress {
    int interface;
    int family;
    base::IpAddress ip;
    bool global;     // scope
    bool secondary;  // not the one that the kernel would choose as a source
    friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

struct Rule {
    int family;
    std::uint32_t priority;
    std::uint32_t mark;  // with mask 0: any
    std::uint32_t mask;
    int table;                   // 0: prohibit
    std::string interface = {};  // arriving by it; empty: any
    int protocol = 0;            // IPPROTO_*; 0: any
    std::uint16_t port = 0;      // to it; 0: any
    friend bool operator==(const Rule&, const Rule&) = default;
};

// "local default dev <interface> table <table>", or "prohibit default".
struct LocalRoute {
    int family;
    int interface;
    int table;
    std::uint32_t metric;
    std::optional<base::IpAddress> source = {};
    bool prohibit = false;
    friend bool operator==(const LocalRoute&, const LocalRoute&) = default;
};

// Lives on: any thread; stays in the namespace it was opened in. Owns: one netlink socket.
class Rtnetlink {
public:
    static base::Result<Rtnetlink> open();  // in the calling thread's namespace

    base::Result<std::vector<Interface>> interfaces();  // without lo
    base::Result<std::vector<InterfaceAddress>> addresses();
    // Those that we made. A family that the namespace does not have has none.
    base::Result<std::vector<Rule>> rules(int family);
    base::Result<std::vector<LocalRoute>> routes(int family, int table);

    // Idempotent, all of them.
    base::Result<> add(const Rule&);
    base::Result<> remove(const Rule&);
    base::Result<> put(const LocalRoute&);
    base::Result<> remove(const LocalRoute&);

private:
    using Socket = base::Handle<mnl_socket, mnl_socket_close>;
    explicit Rtnetlink(Socket socket) : socket_{std::move(socket)} {}
    // Sends one request and feeds the answers to the callback. Returns 0 or an errno.
    int ask(nlmsghdr* request, mnl_cb_t answer = nullptr, void* data = nullptr);

    Socket socket_;
    std::uint32_t sequence_ = 0;
};

// Hears of links, addresses, rules and routes that come and go, in the calling thread's namespace. Non-blocking.
base::Result<base::Fd> open_change_socket();

}
