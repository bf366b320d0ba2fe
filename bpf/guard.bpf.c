/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * The guard on a pod's interfaces, for what slipped past sockops or has no socket at all: an app that binds or marks
 * its captured socket anew in mid-flow, raw packets, forwarded ones, and packets from outside in the pod's own name.
 * What it cannot read it drops, if a connection could hide in it.
 *
 * Two doors each way: interfaces with an Ethernet header and those without (tunnels).
 */
#include "lib/address.h"
#include "lib/count.h"
#include "lib/parse.h"
#include "lib/pod.h"
#include "maps.h"

#include <linux/pkt_cls.h>

extern const volatile __u64 pod_netns;

#define SOCK_STREAM 1

#define GUARD_PASS CV_REASON_COUNT /* the ordinary packet: not worth a counter */

/* A TCP socket past its handshake sends no SYN: nothing to parse in the packets that matter for speed. A raw socket
 * may call itself TCP, hence the type. */
static __always_inline int is_past_handshake(struct bpf_sock* sk) {
    return sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP && sk->state != BPF_TCP_SYN_SENT &&
           sk->state != BPF_TCP_CLOSE;
}

static __always_inline enum cv_reason look_for_syn(struct __sk_buff* skb, enum l2 l2) {
    struct packet packet = {};
    enum parsed found = parse(skb, l2, &packet);
    __u8 flags;

    if (found == PARSED_NOT_IP) return GUARD_PASS;
    if (found == PARSED_UNREADABLE) return CV_REASON_GUARD_UNREADABLE;
    if (packet.protocol != IPPROTO_TCP || packet.later_fragment) return GUARD_PASS;
    /* A first fragment too short for the flags was cut to hide them. */
    if (bpf_skb_load_bytes(skb, packet.next + TCP_FLAGS_OFFSET, &flags, 1)) return CV_REASON_GUARD_UNREADABLE;
    return (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? CV_REASON_GUARD_SYN : GUARD_PASS;
}

static __always_inline enum cv_reason leaving(struct __sk_buff* skb, enum l2 l2) {
    struct bpf_sock* sk = skb->sk;
    struct cv_sock* known;
    struct cv_pod* pod;

    if (sk) sk = bpf_sk_fullsock(sk); /* not a half-open one: those answer, they do not ask */
    if (sk) {
        known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);
        if (known && known->note == CV_SOCK_CAPTURED) return CV_REASON_GUARD_CAPTURED;
        if (is_past_handshake(sk) || bpf_sk_storage_get(&cv_own_socks, sk, 0, 0)) return GUARD_PASS;
    }
    pod = find_pod(pod_netns);
    if (!pod || pod->state != CV_POD_CAPTURING) return GUARD_PASS;
    return look_for_syn(skb, l2);
}

/* The kernel drops the pod's own IPv4 address as a martian, but an IPv6 one it takes for the pod talking to itself.
 * Neighbour discovery must hear of duplicates. */
static __always_inline enum cv_reason arriving(struct __sk_buff* skb, enum l2 l2) {
    struct packet packet = {};

    if (parse(skb, l2, &packet) == PARSED_NOT_IP) return GUARD_PASS;
    if (packet.protocol == IPPROTO_ICMP6 || !is_own(pod_netns, packet.source_ip, packet.family)) return GUARD_PASS;
    return CV_REASON_GUARD_FORGED;
}

static __always_inline int verdict(enum cv_reason reason) {
    if (reason == GUARD_PASS) return TC_ACT_UNSPEC;
    count(reason);
    return TC_ACT_SHOT;
}

SEC("tc")
int cv_out_guard(struct __sk_buff* skb) {
    return verdict(leaving(skb, L2_ETHERNET));
}

SEC("tc")
int cv_out_guard_l3(struct __sk_buff* skb) {
    return verdict(leaving(skb, L2_NONE));
}

SEC("tc")
int cv_in_guard(struct __sk_buff* skb) {
    return verdict(arriving(skb, L2_ETHERNET));
}

SEC("tc")
int cv_in_guard_l3(struct __sk_buff* skb) {
    return verdict(arriving(skb, L2_NONE));
}

char _license[] SEC("license") = "Dual BSD/GPL";
