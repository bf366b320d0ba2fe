// SPDX-License-Identifier: Apache-2.0
#include "resolv_conf.hpp"

#include <fstream>
#include <sstream>

#include <culvert/base/log.hpp>

namespace culvert::dns {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_servers = 3;
constexpr auto silence = 10s;

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
           a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}

std::vector<base::SocketAddress> read_nameservers(const std::string& text, std::uint16_t port) {
    std::vector<base::SocketAddress> servers;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line) && servers.size() < most_servers;) {
        std::istringstream words{line};
        std::string key, address;
        if (!(words >> key >> address) || key != "nameserver") continue;
        if (auto ip = base::IpAddress::parse(address)) servers.push_back({*ip, port});
    }
    return servers;
}

void Nameservers::read_again() {
    struct stat now {};
    if (::stat(file_.c_str(), &now) != 0 || same_file(now, read_)) return;
    std::ifstream file{file_};
    std::stringstream text;
    text << file.rdbuf();
    auto addresses = read_nameservers(text.str(), port_);
    read_ = now;
    // Half written, perhaps.
    if (addresses.empty() && !servers_.empty()) return;
    servers_.clear();
    std::string all;
    for (const auto& address : addresses) {
        servers_.push_back({address});
        all += " " + address.ip.to_string();
    }
    if (all.empty())
        base::log::warn("dns", "{} has no nameserver: names that the mesh does not know are not answered", file_);
    else
        base::log::info("dns", "nameservers of {}:{}", file_, all);
}

std::vector<base::SocketAddress> Nameservers::in_order(Clock::time_point now) {
    if (now >= look_again_) {
        read_again();
        look_again_ = now + 1s;
    }
    std::vector<base::SocketAddress> order;
    for (bool silent : {false, true})
        for (const Server& server : servers_)
            if ((server.silent_until > now) == silent) order.push_back(server.address);
    return order;
}

void Nameservers::is_silent(const base::SocketAddress& server, Clock::time_point now) {
    for (Server& known : servers_)
        if (known.address == server) known.silent_until = now + silence;
}

}
