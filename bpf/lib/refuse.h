/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * "Refused", said at once to whoever sent a SYN that may not pass: the SYN itself, turned around into the reset that
 * would answer it. That to a SYN that may not leave is put in at the interface's other end, and never on the wire: it
 * begins as an arriving packet.
 *
 * In plain packets only, where nothing stands between link, IP and TCP. Others time out.
 */
#pragma once
#include <linux/pkt_cls.h>

#include <culvert/bpf/marks.h>

#include "parse.h"

#define TCP_SEQ_OFFSET 4
#define TCP_CHECK_OFFSET 16
#define TCP_RST 0x04

static __always_inline int is_plain(struct __sk_buff* skb, enum l2 l2, const struct packet* packet) {
    __u32 network = l2 == L2_ETHERNET ? ETH_HLEN : 0, ip = packet->family == CV_IPV4 ? 20 : 40;

    return !skb->vlan_present && !packet->fragment && packet->network == network && packet->next == network + ip;
}

/* The two neighbours of so many bytes change places; no checksum over both changes by that. Unrolled sizes. */
#define SWAP(skb, at, half)                                            \
    ({                                                                 \
        __u8 both_[2 * (half)], swapped_[2 * (half)];                  \
        long err_ = bpf_skb_load_bytes(skb, at, both_, 2 * (half));    \
        __builtin_memcpy(swapped_, both_ + (half), half);              \
        __builtin_memcpy(swapped_ + (half), both_, half);              \
        err_ || bpf_skb_store_bytes(skb, at, swapped_, 2 * (half), 0); \
    })

static __always_inline int turn_tcp(struct __sk_buff* skb, __u32 tcp) {
    __u32 was[3], now[3]; /* sequence, acknowledged; length, flags and window */

    if (bpf_skb_load_bytes(skb, tcp + TCP_SEQ_OFFSET, was, sizeof(was))) return -1;
    now[0] = 0;
    now[1] = bpf_htonl(bpf_ntohl(was[0]) + 1);
    now[2] = (was[2] & bpf_htonl(0xf000ffff)) | bpf_htonl((TCP_RST | TCP_ACK) << 16);
    return bpf_skb_store_bytes(skb, tcp + TCP_SEQ_OFFSET, now, sizeof(now), 0) ||
           bpf_l4_csum_replace(skb, tcp + TCP_CHECK_OFFSET, 0, bpf_csum_diff(was, sizeof(was), now, sizeof(now), 0),
                               0) ||
           SWAP(skb, tcp, 2);
}

/* A plain one. */
static __always_inline int turn_around(struct __sk_buff* skb, enum l2 l2, enum cv_family family) {
    __u32 network = l2 == L2_ETHERNET ? ETH_HLEN : 0;
    int turned = family == CV_IPV4 ? !SWAP(skb, network + IPV4_ADDRESSES, 4) && !turn_tcp(skb, network + 20)
                                   : !SWAP(skb, network + IPV6_ADDRESSES, 16) && !turn_tcp(skb, network + 40);

    return !turned || (l2 == L2_ETHERNET && SWAP(skb, 0, ETH_ALEN)) ? -1 : 0;
}

/* The verdict on a SYN that may not leave. An own address may have an owner behind it (masquerade), so that reset goes
 * through the pod's stack. Another one is somebody's with a link address of his own (macvlan): the mark keeps it from
 * everybody else. */
static __always_inline int refuse_leaving(struct __sk_buff* skb, enum l2 l2, const struct packet* packet,
                                          int from_own) {
    if (!is_plain(skb, l2, packet) || turn_around(skb, l2, packet->family)) return TC_ACT_SHOT;
    skb->mark = from_own ? 0 : CV_MARK_REFUSE;
    return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* The verdict on one that has arrived: back where it came from. */
static __always_inline int refuse_arriving(struct __sk_buff* skb, enum l2 l2, enum cv_family family) {
    if (turn_around(skb, l2, family)) return TC_ACT_SHOT;
    skb->mark = 0;
    return bpf_redirect(skb->ifindex, 0);
}
