/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Steering: a SYN has arrived in a pod's network namespace, from outside or looped back over lo. The only thing
 * decided here is which socket gets it. Whenever we are unsure it is dropped, never let past us, and counted.
 *
 * One loaded instance per pod: sk_lookup sees neither mark, netns cookie nor a listener of another netns.
 */
#include "lib/address.h"
#include "lib/count.h"
#include "lib/exclude.h"
#include "lib/note.h"
#include "lib/pod.h"
#include "maps.h"

#include <linux/in.h>
#include <culvert/bpf/marks.h>

const volatile __u64 pod_netns; /* the pod's cookie */
const volatile __u32 workers = 1;

/* How many other workers are asked when one is crowded. */
#define SLOT_TRIES 4

struct sock {
    __u32 sk_ack_backlog;
    __u32 sk_max_ack_backlog;
} __attribute__((preserve_access_index));

struct tcp_sock;

/* Without branches, as the verifier would follow all the rest once for each family: what the other family would say is
 * 0 in the context. The packet's family counts: what comes from outside as ::ffff:a.b.c.d is IPv6 and matches nothing
 * of ours. */
static __always_inline void read_syn(struct bpf_sk_lookup* ctx, struct cv_note_key* syn) {
    __u32 family = READ(ctx->family);
    __u32 mapped = equals(family, CV_IPV4) * bpf_htonl(0xffff);

    barrier_var(mapped);
    struct words from = {{READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]) | mapped,
                          READ(ctx->remote_ip6[3]) | READ(ctx->remote_ip4)}};
    struct words to = {{READ(ctx->local_ip6[0]), READ(ctx->local_ip6[1]), READ(ctx->local_ip6[2]) | mapped,
                        READ(ctx->local_ip6[3]) | READ(ctx->local_ip4)}};

    syn->netns_cookie = pod_netns;
    syn->source_port = bpf_ntohs(READ(ctx->remote_port));
    syn->destination_port = READ(ctx->local_port);
    syn->family = family;
    write_ip(syn->source_ip, &from);
    write_ip(syn->destination_ip, &to);
}

static __always_inline enum cv_reason by_port(const struct cv_note_key* syn) {
    return syn->destination_port == CV_TUNNEL_PORT ? CV_REASON_TO_TUNNEL : CV_REASON_TO_INBOUND;
}

/* To an address of the pod. Not told by interface alone: what is looped to an own address reports the interface that
 * has the address, and that may be a bridge of VMs. */
static __always_inline enum cv_reason classify_arriving(const struct cv_pod* pod, const struct cv_note_key* syn,
                                                        int is_virtual) {
    struct cv_note* note;

    /* The proxy's own come first: a leg may carry any client's address, also the pod's. None comes by an interface:
     * cv_in_guard. */
    note = bpf_map_lookup_elem(&cv_legs, syn);
    if (is_fresh(note)) return note->kind == CV_NOTE_LEG ? CV_REASON_PASS_LEG : by_port(syn);

    if (is_loopback(syn->source_ip, syn->family) || is_own(pod_netns, syn->source_ip, syn->family))
        return CV_REASON_PASS_SELF;

    if (is_virtual) return CV_REASON_TO_OUTBOUND;
    note = bpf_map_lookup_elem(&cv_probes, syn);
    if (is_fresh(note)) return CV_REASON_PASS_PROBE;
    if (excluded_inbound(pod, syn->destination_port)) return CV_REASON_PASS_EXCLUDED;
    return by_port(syn);
}

/* What comes to the pod, and what leaves it past cv_sockops, comes to ports of ours by the rules. The rest that is for
 * the pod they have let through: probes, the proxy's legs, what the pod says to itself. */
static __always_inline enum cv_reason classify_by_rules(const struct cv_note_key* syn, __u32 ingress_ifindex) {
    int to_loopback = is_loopback(syn->destination_ip, syn->family);

    if (to_loopback || is_own(pod_netns, syn->destination_ip, syn->family)) {
        if (syn->destination_port == CV_OUTBOUND_PORT) return CV_REASON_TO_OUTBOUND;
        if (to_loopback) return CV_REASON_PASS_LOOPBACK;
        if (syn->destination_port == CV_INBOUND_PORT) return CV_REASON_TO_INBOUND;
        if (syn->destination_port == CV_TUNNEL_PORT) return CV_REASON_TO_TUNNEL;
        return CV_REASON_PASS_RULES;
    }
    if (ingress_ifindex == CV_LOOPBACK_IFINDEX || is_own(pod_netns, syn->source_ip, syn->family))
        return CV_REASON_TO_OUTBOUND;
    return CV_REASON_PASS_RULES;
}

static __always_inline enum cv_reason classify(const struct cv_pod* pod, const struct cv_note_key* syn,
                                               __u32 ingress_ifindex) {
    int is_virtual = is_virtual_interface(pod, ingress_ifindex);

    if (pod->by_rules) return classify_by_rules(syn, ingress_ifindex);
    if (is_loopback(syn->destination_ip, syn->family))
        return CV_REASON_PASS_LOOPBACK; /* the kernel drops such packets from outside before us */
    if (is_own(pod_netns, syn->destination_ip, syn->family)) return classify_arriving(pod, syn, is_virtual);

    /* The own source is for device-bound sockets, which loop by their device. Outside packets cannot claim it:
     * cv_in_guard. */
    if (ingress_ifindex == CV_LOOPBACK_IFINDEX || is_virtual || is_own(pod_netns, syn->source_ip, syn->family))
        return CV_REASON_TO_OUTBOUND;
    return CV_REASON_DROP_FOREIGN;
}

static __always_inline __u32 hash(const struct cv_note_key* syn) {
    const __u32* word = (const __u32*)syn->source_ip;
    __u32 h = syn->source_port << 16 | syn->destination_port;

#pragma unroll
    for (int i = 0; i < 8; i++) { /* both addresses */
        h ^= word[i];
        h *= 0x85ebca6b;
        h ^= h >> 15;
    }
    return h;
}

/* Over half full: its worker is behind, and a full backlog hangs the client. */
static __always_inline int is_crowded(struct bpf_sock* listener) {
    struct sock* sk = (struct sock*)bpf_skc_to_tcp_sock(listener);

    return sk && sk->sk_ack_backlog > sk->sk_max_ack_backlog / 2;
}

static __always_inline enum cv_reason offer(struct bpf_sk_lookup* ctx, __u32 slot, int last, enum cv_reason reason) {
    struct bpf_sock* listener = bpf_map_lookup_elem(&cv_listeners, &slot);
    long err;

    if (!listener) return CV_REASON_DROP_NO_LISTENER;
    if (!last && is_crowded(listener)) {
        bpf_sk_release(listener);
        return CV_REASON_SLOT_CROWDED;
    }
    err = bpf_sk_assign(ctx, listener, 0);
    bpf_sk_release(listener); /* on every path: the verifier counts references */
    return err ? CV_REASON_DROP_ASSIGN_FAILED : reason;
}

_Static_assert(CV_REASON_TO_INBOUND - CV_REASON_TO_OUTBOUND == CV_ARRIVAL_INBOUND_PLAIN &&
                   CV_REASON_TO_TUNNEL - CV_REASON_TO_OUTBOUND == CV_ARRIVAL_INBOUND_TUNNEL,
               "the reasons to steer are in the order of the arrivals");

static __always_inline enum cv_reason steer(struct bpf_sk_lookup* ctx, const struct cv_note_key* syn, __u32 first,
                                            enum cv_reason reason) {
    __u32 arrival = reason - CV_REASON_TO_OUTBOUND;
    __u32 base = (arrival * 2 + equals(syn->family, CV_IPV6)) * workers;
    enum cv_reason said;

    for (__u32 i = 0; i < SLOT_TRIES && i < workers; i++) {
        said = offer(ctx, base + (first + i) % workers, 0, reason);
        if (said != CV_REASON_SLOT_CROWDED) return said;
        count(CV_REASON_SLOT_CROWDED);
    }
    return offer(ctx, base + first % workers, 1, reason);
}

/* The same number. The verifier does not know it any more, and follows what comes next once, not once for each. */
static __always_inline enum cv_reason forget(struct bpf_sk_lookup* ctx, enum cv_reason number) {
    __u32 any = READ(ctx->family), same = any;

    barrier_var(same);
    return number + (any - same);
}

static __always_inline enum cv_reason decide(struct bpf_sk_lookup* ctx) {
    __u32 ingress_ifindex = READ(ctx->ingress_ifindex);
    struct cv_pod* pod = find_pod(pod_netns);
    struct cv_note_key syn;
    enum cv_reason reason;
    __u32 first;

    if (!pod || pod->state != CV_POD_CAPTURING) return CV_REASON_PASS_LEAVING;

    read_syn(ctx, &syn);
    first = hash(&syn);
    barrier_var(first); /* here and now, not once on every way to steer() */
    reason = classify(pod, &syn, ingress_ifindex);
    switch (reason) {
        case CV_REASON_TO_OUTBOUND:
        case CV_REASON_TO_INBOUND:
        case CV_REASON_TO_TUNNEL: return steer(ctx, &syn, first, forget(ctx, reason));
        default: return reason;
    }
}

/* An app's question, looped by the rule for its port. An own server of the pod's is none of our business, whoever asks
 * it, and nothing that came by an interface is a question of this pod's. */
static __always_inline enum cv_reason decide_question(struct bpf_sk_lookup* ctx) {
    __u32 ingress_ifindex = READ(ctx->ingress_ifindex);
    struct cv_note_key question;
    struct cv_pod* pod;

    if (READ(ctx->local_port) != CV_DNS_PORT) return CV_REASON_COUNT;
    pod = find_pod(pod_netns);
    if (!pod || !pod->dns || pod->state != CV_POD_CAPTURING) return CV_REASON_COUNT;
    read_syn(ctx, &question);
    if (is_loopback(question.destination_ip, question.family)) return CV_REASON_COUNT;
    if (is_own(pod_netns, question.destination_ip, question.family)) return CV_REASON_COUNT;
    if (ingress_ifindex != CV_LOOPBACK_IFINDEX && !is_own(pod_netns, question.source_ip, question.family))
        return CV_REASON_COUNT;
    return offer(ctx, (CV_ARRIVAL_DNS * 2 + equals(question.family, CV_IPV6)) * workers, 1, CV_REASON_TO_DNS);
}

static __always_inline int verdict(enum cv_reason reason) {
    switch (reason) {
        case CV_REASON_COUNT: /* none of our business */
        case CV_REASON_TO_DNS:
        case CV_REASON_TO_OUTBOUND:
        case CV_REASON_TO_INBOUND:
        case CV_REASON_TO_TUNNEL:
        case CV_REASON_PASS_LOOPBACK:
        case CV_REASON_PASS_SELF:
        case CV_REASON_PASS_PROBE:
        case CV_REASON_PASS_LEG:
        case CV_REASON_PASS_EXCLUDED:
        case CV_REASON_PASS_RULES:
        case CV_REASON_PASS_LEAVING: return SK_PASS;
        default: return SK_DROP;
    }
}

SEC("sk_lookup")
int cv_lookup(struct bpf_sk_lookup* ctx) {
    enum cv_reason reason;

    reason = READ(ctx->protocol) == IPPROTO_TCP ? decide(ctx) : decide_question(ctx);
    count(reason);
    return verdict(reason);
}

char _license[] SEC("license") = "Dual BSD/GPL";
