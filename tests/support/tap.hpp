// SPDX-License-Identifier: Apache-2.0
// What passes a device of a node: the wire to the other node, or a pod's cable. Both directions.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "connection.hpp"

namespace culvert::test {

struct Packet {
    SocketAddress from;
    SocketAddress to;
    std::uint8_t flags = 0;
    std::string payload;

    bool syn() const { return (flags & 0x12) == 0x02; }
    bool touches(std::uint16_t port) const { return from.port == port || to.port == port; }
};

class Tap {
public:
    Tap(int netns, const std::string& device) : Tap{netns, device, {}} {}
    // Keeps only what must not pass there: what is outside tunnels, or holds this text.
    Tap(int netns, const std::string& device, std::string secret);
    Tap(const Tap&) = delete;
    ~Tap();

    // Everything that had passed when this was called: TCP that is whole and right behind an IP header.
    std::vector<Packet> packets() const;
    // Frames of all the rest.
    std::vector<std::string> others() const;
    // For people: "10.71.1.10:4711 > 10.71.2.11:15008 +517"; what a failed check prints.
    static std::string list(const std::vector<Packet>& packets);

private:
    void record();
    void catch_up(std::unique_lock<std::mutex>& lock) const;

    const std::string secret_;
    base::Fd socket_;
    mutable std::mutex mutex_;
    std::vector<Packet> packets_;
    std::vector<std::string> others_;
    std::atomic<bool> ending_{false};
    std::thread recorder_;
};

// The packets that are neither to nor from the tunnel port, and those whose bytes hold the text.
std::vector<Packet> outside_tunnels(const std::vector<Packet>& packets);
std::vector<Packet> holding(const std::vector<Packet>& packets, std::string_view text);
// What a call to one of these addresses has let out: packets to or from it outside tunnels, the text in the clear.
// Listed for people; empty when all is well.
std::string let_out(const std::vector<Packet>& packets, const std::vector<IpAddress>& targets, std::string_view text);
// Each direction's first bytes, where they are not the head of a TLS record (0x14 to 0x17, 0x03).
std::vector<Packet> not_tls(const std::vector<Packet>& packets);

}
