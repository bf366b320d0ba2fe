/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * The guard on a pod's interfaces, for what slipped past sockops or has no socket at all: an app that binds or marks
 * its captured socket anew in mid-flow, raw packets, forwarded ones, and packets from outside in the pod's own name.
 * What it cannot read it drops, if a connection could hide in it. The last to notice that cv_lookup is gone: an app
 * that answers a stranger is stopped here.
 *
 * Where rules of Istio's CNI are in the pod, those judge connections: only what is captured is held back, and what
 * comes in the pod's own name.
 *
 * Two doors each way: interfaces with an Ethernet header and those without (tunnels).
 */
#include "lib/address.h"
#include "lib/count.h"
#include "lib/event.h"
#include "lib/exclude.h"
#include "lib/note.h"
#include "lib/parse.h"
#include "lib/pod.h"
#include "lib/policy.h"
#include "lib/refuse.h"
#include "maps.h"

#include <culvert/bpf/marks.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

/* 0: one instance for all pods, which reads it off the packet's interface. Else, on kernels that do not show that to
 * the programs, one per pod. */
extern const volatile __u64 pod_netns;

#define SOCK_STREAM 1

#define GUARD_PASS CV_REASON_COUNT /* the ordinary packet: not worth a counter */

struct net {
    __u64 net_cookie;
} __attribute__((preserve_access_index));

struct net_device {
    struct {
        struct net* net;
    } nd_net;
} __attribute__((preserve_access_index));

struct sk_buff {
    struct net_device* dev;
} __attribute__((preserve_access_index));

extern void* bpf_cast_to_kern_ctx(void* ctx) __ksym __weak;

/* Whose interface it passes. Not bpf_get_netns_cookie(): that one tells the socket's, or the node's if there is none.
 */
static __always_inline __u64 netns_of(struct __sk_buff* skb) {
    if (pod_netns) return pod_netns;
    return ((struct sk_buff*)bpf_cast_to_kern_ctx(skb))->dev->nd_net.net->net_cookie;
}

static __always_inline int has_mark(struct __sk_buff* skb, __u32 mark) {
    return (skb->mark & CV_MARK_MASK) == mark;
}

/* A TCP socket past its handshake sends no SYN: nothing to parse in the packets that matter for speed. A raw socket
 * may call itself TCP, hence the type. SYN_RECV is an accepted one that answers early (TFO). */
static __always_inline int is_past_handshake(struct bpf_sock* sk) {
    return sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP && sk->state != BPF_TCP_SYN_SENT &&
           sk->state != BPF_TCP_SYN_RECV && sk->state != BPF_TCP_CLOSE;
}

/* A SYN-ACK of our listener's. In SYN cookies no socket stands behind it, only the listener's mark. */
static __always_inline int is_our_answer(struct __sk_buff* skb) {
    struct bpf_sock *sk = skb->sk, *listener;

    if (!sk) return has_mark(skb, CV_MARK_PROXY);
    listener = bpf_get_listener_sock(sk);
    if (!listener) listener = bpf_sk_fullsock(sk); /* TFO: the accepted one answers */
    return listener && bpf_sk_storage_get(&cv_listen_socks, listener, 0, 0);
}

/* An accepted socket whose handshake is not over may have data to send already. */
static __always_inline int is_early(struct __sk_buff* skb) {
    struct bpf_sock* sk = skb->sk;

    if (sk) sk = bpf_sk_fullsock(sk);
    return sk && sk->state == BPF_TCP_SYN_RECV;
}

/* Of a socket that was let past the proxy, and still to where it was let: a rule in the pod may have changed that. */
static __always_inline int may_leave(struct __sk_buff* skb, const struct cv_pod* pod, const struct packet* packet) {
    struct cv_note_key to = {};

    return !read_tuple(skb, packet, &to) && excluded_outbound(pod, &to) != CV_REASON_COUNT;
}

/* From a port that takes connections past us, or to a probe. */
static __always_inline int may_answer(struct __sk_buff* skb, __u64 netns, const struct cv_pod* pod,
                                      const struct packet* packet) {
    struct cv_note_key answer = {}, probe = {.netns_cookie = netns};

    if (read_tuple(skb, packet, &answer)) return 0;
    if (pod && excluded_inbound(pod, answer.source_port)) return 1;
    __builtin_memcpy(probe.source_ip, answer.destination_ip, 16);
    __builtin_memcpy(probe.destination_ip, answer.source_ip, 16);
    probe.source_port = answer.destination_port;
    probe.destination_port = answer.source_port;
    probe.family = answer.family;
    return is_fresh(bpf_map_lookup_elem(&cv_probes, &probe));
}

/* The same number. The verifier does not know it any more, and follows what comes next once, not for each way there. */
static __always_inline __u32 forget(struct __sk_buff* skb, __u32 number) {
    __u32 any = skb->len, same = any;

    barrier_var(same);
    return number + (any - same);
}

static __always_inline enum cv_reason look_for_handshake(struct __sk_buff* skb, enum l2 l2, __u64 netns,
                                                         const struct cv_pod* pod, const struct cv_sock* known,
                                                         struct packet* packet) {
    enum parsed found = parse(skb, l2, packet);
    __u8 flags;

    packet->network = forget(skb, packet->network);
    packet->next = forget(skb, packet->next);
    if (found == PARSED) found = read_flags(skb, packet, &flags);
    if (found == PARSED_UNREADABLE) return CV_REASON_GUARD_UNREADABLE;
    if (found != PARSED) return GUARD_PASS;
    if (flags == TCP_SYN) {
        if (pod && known && known->note == CV_SOCK_EXCLUDED && may_leave(skb, pod, packet)) return GUARD_PASS;
        return CV_REASON_GUARD_SYN;
    }
    if (flags != (TCP_SYN | TCP_ACK) && !is_early(skb)) return GUARD_PASS;
    if (is_our_answer(skb) || (pod && is_virtual_interface(pod, skb->ifindex)) || may_answer(skb, netns, pod, packet))
        return GUARD_PASS;
    return CV_REASON_GUARD_ANSWER;
}

static __always_inline enum cv_reason leaving(struct __sk_buff* skb, enum l2 l2, struct packet* packet) {
    struct bpf_sock* sk = skb->sk;
    struct cv_sock* known = 0;
    struct cv_pod* pod;
    __u64 netns;

    /* Bound for lo, or for nowhere: somebody has changed the way since. */
    if (has_mark(skb, CV_MARK_LOOP) || has_mark(skb, CV_MARK_REFUSE)) return CV_REASON_GUARD_CAPTURED;
    if (sk) sk = bpf_sk_fullsock(sk); /* not a half-open one: those answer, they do not ask */
    if (sk) {
        known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);
        if (known && known->note == CV_SOCK_CAPTURED) return CV_REASON_GUARD_CAPTURED;
        if (is_past_handshake(sk) || bpf_sk_storage_get(&cv_own_socks, sk, 0, 0)) return GUARD_PASS;
    }
    netns = netns_of(skb);
    pod = find_pod(netns);
    /* No row: somebody has taken the interface out of its pod, to where nothing is captured. */
    if (pod && (pod->state != CV_POD_CAPTURING || pod->by_rules)) return GUARD_PASS;
    return look_for_handshake(skb, l2, netns, pod, known, packet);
}

static __always_inline int is_by_rules(__u64 netns) {
    struct cv_pod* pod = find_pod(netns);

    return pod && pod->by_rules;
}

/* Answers of nameservers to us. Before the kernel takes a packet it looks up the way back, which for these would meet
 * the rule that loops the app's questions: "martian source". With this mark, and src_valid_mark, it is the way that our
 * question went. */
static __always_inline void know_answer(struct __sk_buff* skb, const struct packet* packet, __u64 netns) {
    struct cv_pod* pod;
    __u16 port;

    if (packet->protocol != IPPROTO_UDP || packet->later_fragment) return;
    if (bpf_skb_load_bytes(skb, packet->next, &port, sizeof(port)) || port != bpf_htons(CV_DNS_PORT)) return;
    pod = find_pod(netns);
    if (pod && pod->dns) skb->mark = (skb->mark & ~CV_MARK_MASK) | CV_MARK_PROXY;
}

/* The kernel drops the pod's own IPv4 address as a martian, but an IPv6 one it takes for the pod talking to itself.
 * Neighbour discovery must hear of duplicates. Legs and dials to the pod itself come over lo, never from outside. */
static __always_inline enum cv_reason arriving(struct __sk_buff* skb, enum l2 l2, struct packet* packet,
                                               struct cv_note_key* syn) {
    __u64 netns = netns_of(skb);
    enum parsed found = parse(skb, l2, packet);
    __u8 flags;

    if (found == PARSED_NOT_IP) return GUARD_PASS;
    if (packet->protocol != IPPROTO_ICMP6 && is_own(netns, packet->source_ip, packet->family))
        return CV_REASON_GUARD_FORGED;
    if (found == PARSED) know_answer(skb, packet, netns);
    if (found == PARSED) found = read_flags(skb, packet, &flags);
    if (found == PARSED_UNREADABLE) return is_by_rules(netns) ? GUARD_PASS : CV_REASON_GUARD_UNREADABLE;
    if (found != PARSED || flags != TCP_SYN) return GUARD_PASS;
    if (is_by_rules(netns)) return GUARD_PASS;
    if (packet->rerouted) return CV_REASON_GUARD_UNREADABLE;
    syn->netns_cookie = netns;
    if (read_tuple(skb, packet, syn)) return GUARD_PASS;
    if (is_fresh(bpf_map_lookup_elem(&cv_legs, syn))) return CV_REASON_GUARD_FORGED;
    /* One that cannot be told so, or is not for us, is not refused here. */
    if (skb->pkt_type != PACKET_HOST || !is_plain(skb, l2, packet)) return GUARD_PASS;
    return refuses(netns, syn, skb->ifindex) ? CV_REASON_POLICY_REFUSED : GUARD_PASS;
}

static __always_inline int drop(enum cv_reason reason) {
    count(reason);
    return TC_ACT_SHOT;
}

static __always_inline int guard_out(struct __sk_buff* skb, enum l2 l2) {
    struct packet packet = {};
    enum cv_reason reason = leaving(skb, l2, &packet);

    if (reason == GUARD_PASS) return TC_ACT_UNSPEC;
    if (reason != CV_REASON_GUARD_SYN) return drop(reason);
    count(reason);
    return refuse_leaving(skb, l2, &packet, is_own(netns_of(skb), packet.source_ip, packet.family));
}

static __always_inline int guard_in(struct __sk_buff* skb, enum l2 l2) {
    struct packet packet = {};
    struct cv_note_key syn = {};
    enum cv_reason reason;

    /* Our own reset, for a link address that is not the pod's: see lib/refuse.h. */
    if (has_mark(skb, CV_MARK_REFUSE)) return skb->pkt_type == PACKET_HOST ? TC_ACT_SHOT : TC_ACT_UNSPEC;
    reason = arriving(skb, l2, &packet, &syn);
    if (reason == GUARD_PASS) return TC_ACT_UNSPEC;
    if (reason != CV_REASON_POLICY_REFUSED) return drop(reason);
    count(reason);
    tell(&syn, reason);
    return refuse_arriving(skb, l2, syn.family);
}

SEC("tc")
int cv_out_guard(struct __sk_buff* skb) {
    return guard_out(skb, L2_ETHERNET);
}

SEC("tc")
int cv_out_guard_l3(struct __sk_buff* skb) {
    return guard_out(skb, L2_NONE);
}

SEC("tc")
int cv_in_guard(struct __sk_buff* skb) {
    return guard_in(skb, L2_ETHERNET);
}

SEC("tc")
int cv_in_guard_l3(struct __sk_buff* skb) {
    return guard_in(skb, L2_NONE);
}

char _license[] SEC("license") = "Dual BSD/GPL";
