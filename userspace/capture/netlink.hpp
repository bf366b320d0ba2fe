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
    bool ethernet;  // packets carry an Ethernet header
};

struct InterfaceAddress {
    int interface;
    int family;
    base::IpAddress ip;
    bool global;     // scope
    bool secondary;  // not the one that the kernel would choose as a source
};

struct Rule {
    int family;
    std::uint32_t priority;
    std::uint32_t mark;
    std::uint32_t mask;
    int table;  // 0: prohibit
};

// "local default dev <interface> table <table>", the only kind we need.
struct LocalRoute {
    int family;
    int interface;
    int table;
    std::uint32_t metric;
    std::optional<base::IpAddress> source;
};

// Lives on: any thread; stays in the namespace it was opened in. Owns: one netlink socket.
class Rtnetlink {
public:
    static base::Result<Rtnetlink> open();  // in the calling thread's namespace

    base::Result<std::vector<Interface>> interfaces();
    base::Result<std::vector<InterfaceAddress>> addresses();
    // Idempotent, all of them.
    base::Result<> add(const Rule&);
    base::Result<> remove(const Rule&);
    base::Result<> put(const LocalRoute&);
    // Removes the routes of a table that put() made.
    base::Result<> clear(int family, int table);

private:
    using Socket = base::Handle<mnl_socket, mnl_socket_close>;
    explicit Rtnetlink(Socket socket) : socket_{std::move(socket)} {}
    // Sends one request and feeds the answers to the callback. Returns 0 or an errno.
    int ask(nlmsghdr* request, mnl_cb_t answer = nullptr, void* data = nullptr);

    Socket socket_;
    std::uint32_t sequence_ = 0;
};

// Hears of links and addresses that come and go, in the calling thread's namespace. Non-blocking.
base::Result<base::Fd> open_change_socket();

}
