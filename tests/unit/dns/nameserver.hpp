// SPDX-License-Identifier: Apache-2.0
// A nameserver on loopback with a thread of its own, for both transports, that answers as it is told.
#pragma once
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <thread>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <doctest/doctest.h>

#include "packet.hpp"

namespace culvert::dns {

inline base::Fd bound(int type, const char* ip, std::uint16_t port) {
    const base::SocketAddress at{base::IpAddress::parse(ip).value(), port};
    base::Fd fd{::socket(at.ip.family(), type | SOCK_CLOEXEC, 0)};
    sockaddr_storage raw;
    socklen_t size = at.to(raw);
    int one = 1;
    if (at.ip.family() == AF_INET6) ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &one, sizeof one);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), size) != 0) return {};
    if (type == SOCK_STREAM && ::listen(fd.get(), 16) != 0) return {};
    return fd;
}

// What to say to a request; several messages, or none. A tcp request has no length in front.
using Says = std::function<std::vector<Bytes>(const Bytes& request)>;

class Nameserver {
public:
    Nameserver(const char* ip, std::uint16_t port, Says says) : says_{std::move(says)} {
        for (int tries = 0; tries < 50 && !tcp_; ++tries) {
            udp_ = bound(SOCK_DGRAM, ip, port);
            if (udp_) tcp_ = bound(SOCK_STREAM, ip, base::local_address(udp_.get()).port);
        }
        REQUIRE(tcp_);
        thread_ = std::thread{[this] { run(); }};
    }
    ~Nameserver() {
        ending_ = true;
        thread_.join();
    }
    // Of the last request by UDP.
    base::SocketAddress client() const { return client_; }
    std::uint16_t port() const { return base::local_address(udp_.get()).port; }
    int asked() const { return asked_; }

private:
    void run() {
        while (!ending_) {
            pollfd both[] = {{udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
            if (::poll(both, 2, 20) <= 0) continue;
            if (both[0].revents) by_udp();
            if (both[1].revents) by_tcp();
        }
    }
    void by_udp() {
        Bytes request(65535);
        sockaddr_storage from;
        socklen_t size = sizeof from;
        auto got = ::recvfrom(udp_.get(), request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
        request.resize(static_cast<std::size_t>(got));
        client_ = base::SocketAddress::from(from);
        ++asked_;
        for (const Bytes& answer : says_(request))
            ::sendto(udp_.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
    void by_tcp() {
        base::Fd peer{::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        std::uint8_t length[2];
        if (::recv(peer.get(), length, 2, MSG_WAITALL) != 2) return;
        Bytes request(static_cast<std::size_t>(length[0] << 8 | length[1]));
        if (::recv(peer.get(), request.data(), request.size(), MSG_WAITALL) != static_cast<ssize_t>(request.size()))
            return;
        ++asked_;
        for (Bytes answer : says_(request)) {
            Bytes framed;
            put16(framed, static_cast<unsigned>(answer.size()));
            framed.insert(framed.end(), answer.begin(), answer.end());
            ::send(peer.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
        }
    }

    Says says_;
    base::Fd udp_, tcp_;
    std::atomic<bool> ending_ = false;
    std::atomic<int> asked_ = 0;
    base::SocketAddress client_;  // written before asked_
    std::thread thread_;
};

inline Bytes answer_with(const Bytes& request, std::vector<std::string> ips) {
    Answer answer;
    for (const auto& ip : ips) answer.addresses.push_back(base::IpAddress::parse(ip).value());
    return write_answer(request, std::get<Query>(parse_query(request)), answer, longest_message);
}

}
