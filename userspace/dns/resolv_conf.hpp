// SPDX-License-Identifier: Apache-2.0
// The nameservers of a resolv.conf, read again when it changes.
#pragma once
#include <sys/stat.h>

#include <chrono>
#include <string>
#include <vector>

#include <culvert/base/address.hpp>

namespace culvert::dns {

// As the C library reads it, which takes no more than three. Those with a zone (fe80::1%eth0) are left out.
std::vector<base::SocketAddress> read_nameservers(const std::string& text, std::uint16_t port);

class Nameservers {
public:
    using Clock = std::chrono::steady_clock;
    Nameservers(std::string file, std::uint16_t port) : file_{std::move(file)}, port_{port} {}

    // In the order to ask them: those that said nothing lately come last.
    std::vector<base::SocketAddress> in_order(Clock::time_point now);
    void is_silent(const base::SocketAddress& server, Clock::time_point now);

private:
    struct Server {
        base::SocketAddress address;
        Clock::time_point silent_until = Clock::time_point::min();
    };
    void read_again();

    std::string file_;
    std::uint16_t port_;
    struct stat read_ {};
    Clock::time_point look_again_ = Clock::time_point::min();
    std::vector<Server> servers_;
};

}
