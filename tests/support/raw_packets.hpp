// SPDX-License-Identifier: Apache-2.0
// Packets made by hand, for what no socket would send. Checksums are right: whoever gets to read one takes it.
#pragma once
#include <string>

#include "lab.hpp"

namespace culvert::test {

std::string ipv4_syn(const SocketAddress& from, const SocketAddress& to);
std::string ipv6_syn(const SocketAddress& from, const SocketAddress& to);
// The packet's first `payload` bytes behind the IP header, as the first of several fragments.
std::string ipv4_first_fragment(std::string packet, std::size_t payload);
std::string ipv6_first_fragment(const std::string& packet, std::size_t payload);
// An IPv6 packet with a header more: destination options, or a segment routing header, which leads it by way of `via`.
std::string behind_options(const std::string& packet);
std::string by_way_of(const std::string& packet, const IpAddress& via);

// By a raw socket inside the netns; its family is the packet's.
void send_raw(int netns, const std::string& packet);
// As a frame of its own on eth0, with an 802.1p tag: a VLAN's, but for the number.
void send_tagged(int netns, const std::string& packet);
// As a frame out of the node's end of a pod's cable, for the pod itself: whatever its addresses, it gets there.
void send_into(const Pod& pod, int node_netns, const std::string& packet);

}
