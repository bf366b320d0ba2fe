// SPDX-License-Identifier: Apache-2.0
// A pod's questions by UDP: received with the address they were sent to, answered from there.
#pragma once
#include <optional>

#include <culvert/base/address.hpp>
#include <culvert/dns/message.hpp>

namespace culvert::dns {

struct Parties {
    base::SocketAddress client;
    base::IpAddress asked;  // the nameserver that the app meant, or our own address
};

struct Datagram {
    Parties parties;
    View message;  // in the buffer
};

// Nothing: there is none now, and errno says why.
std::optional<Datagram> receive(int fd, std::span<std::uint8_t> buffer);
void send_back(int fd, const Parties& parties, View answer);

// From port 53 of the nameserver, which our socket does not have and cannot bind where the app has it. The packet is
// made here, and sent by a raw socket that takes headers.
void send_as_asked(int raw, const Parties& parties, View answer);
// IP and UDP headers in front of the answer; empty where it is too long for them.
Bytes make_packet(const Parties& parties, View answer);

}
