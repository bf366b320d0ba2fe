/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Reading a packet as far as its TCP flags, with bpf_skb_load_bytes: direct access would need CAP_PERFMON and a pull.
 * Nothing is believed but the bytes: skb->protocol is the word of whoever wrote the packet.
 */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>

#include "address.h"

#define VLAN_TAGS 3
#define EXTENSIONS 10

#define IPPROTO_EXT_HOPS 0
#define IPPROTO_EXT_ROUTING 43
#define IPPROTO_EXT_FRAGMENT 44
#define IPPROTO_EXT_AUTH 51
#define IPPROTO_ICMP6 58
#define IPPROTO_EXT_OPTIONS 60
#define IPPROTO_EXT_MOBILITY 135

#define IPV4_ADDRESSES 12 /* source, destination */
#define IPV6_ADDRESSES 8

#define TCP_FLAGS_OFFSET 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10

enum l2 { L2_ETHERNET, L2_NONE };

/* What we could find out; a helper that gives up says how. */
enum parsed {
    PARSED,
    PARSED_NOT_IP,
    PARSED_NOT_TCP,
    PARSED_UNREADABLE,
};

struct packet {
    __u8 source_ip[16];
    enum cv_family family;
    __u32 network; /* where the IP header starts */
    __u32 next;    /* where the transport header starts */
    __u8 protocol;
    __u8 fragment;
    __u8 later_fragment; /* no transport header here */
    __u8 rerouted;       /* the address in the IP header is not yet the one it goes to */
};

static __always_inline enum parsed find_network(struct __sk_buff* skb, enum l2 l2, struct packet* packet) {
    __u16 type = 0;
    __u8 version;

    packet->network = 0;
    if (l2 == L2_NONE) {
        if (bpf_skb_load_bytes(skb, 0, &version, 1)) return PARSED_UNREADABLE;
        packet->family = version >> 4 == 4 ? CV_IPV4 : CV_IPV6;
        return version >> 4 == 4 || version >> 4 == 6 ? PARSED : PARSED_NOT_IP;
    }
    packet->network = ETH_HLEN;
    if (bpf_skb_load_bytes(skb, ETH_HLEN - 2, &type, 2)) return PARSED_UNREADABLE;
#pragma unroll
    for (int i = 0; i < VLAN_TAGS; i++) {
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) break;
        if (bpf_skb_load_bytes(skb, packet->network + 2, &type, 2)) return PARSED_UNREADABLE;
        packet->network += 4;
    }
    if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) return PARSED_UNREADABLE;
    packet->family = type == bpf_htons(ETH_P_IP) ? CV_IPV4 : CV_IPV6;
    return type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6) ? PARSED : PARSED_NOT_IP;
}

static __always_inline enum parsed parse_ipv4(struct __sk_buff* skb, struct packet* packet) {
    __u8 header[20];

    if (bpf_skb_load_bytes(skb, packet->network, header, sizeof(header))) return PARSED_UNREADABLE;
    packet->protocol = header[9];
    packet->later_fragment = (header[6] & 0x1f) != 0 || header[7] != 0;
    packet->fragment = packet->later_fragment || (header[6] & 0x20) != 0;
    packet->next = packet->network + (header[0] & 0x0f) * 4;
    write_ip4(packet->source_ip, *(__u32*)&header[IPV4_ADDRESSES]);
    return PARSED;
}

static __always_inline enum parsed parse_ipv6(struct __sk_buff* skb, struct packet* packet) {
    struct words source;
    __u8 extension[4];

    if (bpf_skb_load_bytes(skb, packet->network + 6, &packet->protocol, 1) ||
        bpf_skb_load_bytes(skb, packet->network + IPV6_ADDRESSES, &source, sizeof(source)))
        return PARSED_UNREADABLE;
    write_ip(packet->source_ip, &source);
    packet->later_fragment = 0;
    packet->next = packet->network + 40;

    for (int i = 0; i < EXTENSIONS; i++) {
        switch (packet->protocol) {
            case IPPROTO_EXT_HOPS:
            case IPPROTO_EXT_ROUTING:
            case IPPROTO_EXT_FRAGMENT:
            case IPPROTO_EXT_AUTH:
            case IPPROTO_EXT_OPTIONS:
            case IPPROTO_EXT_MOBILITY: break;
            default: return PARSED;
        }
        if (bpf_skb_load_bytes(skb, packet->next, extension, sizeof(extension))) return PARSED_UNREADABLE;
        if (packet->protocol == IPPROTO_EXT_FRAGMENT) {
            packet->next += 8;
            packet->fragment = 1;
            if (extension[2] != 0 || (extension[3] & 0xf8) != 0) {
                packet->later_fragment = 1;
                packet->protocol = extension[0];
                return PARSED;
            }
        } else if (packet->protocol == IPPROTO_EXT_AUTH) {
            packet->next += (extension[1] + 2) * 4;
        } else {
            if (packet->protocol == IPPROTO_EXT_ROUTING && extension[3] != 0) packet->rerouted = 1;
            packet->next += (extension[1] + 1) * 8;
        }
        packet->protocol = extension[0];
    }
    return PARSED_UNREADABLE;
}

static __always_inline enum parsed parse(struct __sk_buff* skb, enum l2 l2, struct packet* packet) {
    enum parsed found = find_network(skb, l2, packet);

    if (found != PARSED) return found;
    return packet->family == CV_IPV4 ? parse_ipv4(skb, packet) : parse_ipv6(skb, packet);
}

static __always_inline enum parsed read_flags(struct __sk_buff* skb, const struct packet* packet, __u8* flags) {
    if (packet->protocol != IPPROTO_TCP || packet->later_fragment) return PARSED_NOT_TCP;
    /* A first fragment too short for the flags was cut to hide them. */
    if (bpf_skb_load_bytes(skb, packet->next + TCP_FLAGS_OFFSET, flags, 1)) return PARSED_UNREADABLE;
    *flags &= TCP_SYN | TCP_ACK;
    return PARSED;
}

/* For a packet whose flags have been read. */
static __always_inline int read_tuple(struct __sk_buff* skb, const struct packet* packet, struct cv_note_key* tuple) {
    struct words ip6[2];
    __u32 ip4[2];
    __u16 ports[2];

    if (bpf_skb_load_bytes(skb, packet->next, ports, sizeof(ports))) return -1;
    tuple->source_port = bpf_ntohs(ports[0]);
    tuple->destination_port = bpf_ntohs(ports[1]);
    tuple->family = packet->family;
    if (packet->family == CV_IPV4) {
        if (bpf_skb_load_bytes(skb, packet->network + IPV4_ADDRESSES, ip4, sizeof(ip4))) return -1;
        write_ip4(tuple->source_ip, ip4[0]);
        write_ip4(tuple->destination_ip, ip4[1]);
    } else {
        if (bpf_skb_load_bytes(skb, packet->network + IPV6_ADDRESSES, ip6, sizeof(ip6))) return -1;
        write_ip(tuple->source_ip, &ip6[0]);
        write_ip(tuple->destination_ip, &ip6[1]);
    }
    return 0;
}
