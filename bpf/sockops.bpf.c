/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Capture: an app in an enrolled pod calls connect(). Its socket gets a mark, the kernel routes the SYN again with that
 * mark, and cv_lookup meets it. Here too, because sockops sees every connection begin and end: notes that let probes
 * and our own legs through, and the rows of cv_flows.
 *
 * Two programs share the cgroup root. cv_sockops is pinned and says "refused"; cv_alive, whose link dies with the
 * daemon, runs after it and says "over lo, to the proxy". So a killed daemon means an error at once, never a timeout
 * and never a connection past us.
 */
#include "lib/address.h"
#include "lib/count.h"
#include "lib/exclude.h"
#include "lib/flow.h"
#include "lib/local.h"
#include "lib/pod.h"
#include "maps.h"

#include <asm-generic/socket.h>
#include <culvert/bpf/marks.h>

const volatile __u64 node_netns;  /* the cookie of the netns that probes come from; 0: of the kernel's first */
const volatile __u64 this_daemon; /* matches cv_pod.daemon */

/* Reads the tuple of a connect: source is this end. A v4-mapped socket sends IPv4. */
static __always_inline void read_connect(struct bpf_sock_ops* ctx, struct cv_note_key* to) {
    __u32 family = READ(ctx->family);
    __u32 from4 = READ(ctx->local_ip4), to4 = READ(ctx->remote_ip4);
    struct words from6 = {
        {READ(ctx->local_ip6[0]), READ(ctx->local_ip6[1]), READ(ctx->local_ip6[2]), READ(ctx->local_ip6[3])}};
    struct words to6 = {
        {READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]), READ(ctx->remote_ip6[3])}};

    to->source_port = READ(ctx->local_port);
    to->destination_port = bpf_ntohl(READ(ctx->remote_port));
    if (family == CV_IPV4 || is_mapped(&to6)) {
        to->family = CV_IPV4;
        write_ip4(to->source_ip, from4);
        write_ip4(to->destination_ip, to4);
    } else {
        to->family = CV_IPV6;
        write_ip(to->source_ip, &from6);
        write_ip(to->destination_ip, &to6);
    }
}

static __always_inline long set_our_bits(struct bpf_sock_ops* ctx, struct bpf_sock* sk, __u32 bits) {
    __u32 mark = (sk->mark & ~CV_MARK_MASK) | bits;

    return bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

static __always_inline void ask_for(struct bpf_sock_ops* ctx, int flags) {
    bpf_sock_ops_cb_flags_set(ctx, READ(ctx->bpf_sock_ops_cb_flags) | flags);
}

/* RTO_CB runs before a SYN is sent again: the note is then renewed, so its life can be short. */
static __always_inline void note(struct bpf_sock_ops* ctx, void* map, const struct cv_note_key* key,
                                 enum cv_note_kind kind) {
    struct cv_note note = {.at_ns = bpf_ktime_get_ns(), .kind = kind};

    bpf_map_update_elem(map, key, &note, BPF_ANY);
    ask_for(ctx, BPF_SOCK_OPS_RTO_CB_FLAG);
}

static __always_inline int is_the_nodes(__u64 cookie) {
    return cookie == (node_netns ? node_netns : bpf_get_netns_cookie(0));
}

static __always_inline struct cv_pod_key* pod_at_destination(const struct cv_note_key* to) {
    struct cv_pod_ip_key ip = {.family = to->family};

    __builtin_memcpy(ip.ip, to->destination_ip, 16);
    return bpf_map_lookup_elem(&cv_pod_ips, &ip);
}

/* A socket of the node's that connects to a pod. Written by the socket's own connect, so no pod can forge it. */
static __always_inline enum cv_reason note_probe(struct bpf_sock_ops* ctx, struct cv_note_key* to) {
    struct cv_pod_key* pod = pod_at_destination(to);

    if (!pod) return CV_REASON_COUNT; /* none of our business */
    to->netns_cookie = pod->netns_cookie;
    note(ctx, &cv_probes, to, CV_NOTE_PROBE);
    return CV_REASON_CONNECT_PROBE;
}

static __always_inline enum cv_reason let_own_through(struct bpf_sock_ops* ctx, struct bpf_sock* sk,
                                                      const struct cv_pod* pod, const struct cv_note_key* to,
                                                      enum cv_own_kind kind) {
    /* Istio's rules know the proxy by this mark, and bring the answers to its legs home. */
    if (pod->by_rules) {
        set_our_bits(ctx, sk, CV_MARK_PROXY);
        return kind == CV_OWN_DIAL ? CV_REASON_CONNECT_OWN : CV_REASON_CONNECT_LEG;
    }
    if (kind == CV_OWN_DIAL) {
        if (is_own(to->netns_cookie, to->destination_ip, to->family)) note(ctx, &cv_legs, to, CV_NOTE_DIAL);
        return CV_REASON_CONNECT_OWN;
    }
    /* With this mark the app's accepted socket inherits it (tcp_fwmark_accept), and replies to a foreign client's
     * address come home over lo. */
    set_our_bits(ctx, sk, CV_MARK_LOOP);
    note(ctx, &cv_legs, to, CV_NOTE_LEG);
    return CV_REASON_CONNECT_LEG;
}

/* The socket may have been captured in an earlier life; the guard must not hold that against this one. */
static __always_inline enum cv_reason leave_alone(struct bpf_sock_ops* ctx, struct bpf_sock* sk, enum cv_reason why) {
    struct cv_sock* known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);

    if (!known) return why;
    if (known->note == CV_SOCK_CAPTURED) set_our_bits(ctx, sk, 0);
    known->note = CV_SOCK_PLAIN;
    return why;
}

static __always_inline enum cv_reason capture(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct cv_sock* known = bpf_sk_storage_get(&cv_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

    if (known) {
        known->note = CV_SOCK_CAPTURED;
        known->asked_for_states = !(READ(ctx->bpf_sock_ops_cb_flags) & BPF_SOCK_OPS_STATE_CB_FLAG);
    }
    ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    /* An app's own mark exempts it from nothing, whatever it is. */
    if (set_our_bits(ctx, sk, CV_MARK_REFUSE)) return CV_REASON_CONNECT_MARK_FAILED;
    return known ? CV_REASON_CONNECT_CAPTURED : CV_REASON_CONNECT_NO_STORAGE;
}

/* The guard lets no other SYN out, so without a note it is captured, which is refused then. */
static __always_inline enum cv_reason exclude(struct bpf_sock_ops* ctx, struct bpf_sock* sk, const struct cv_pod* pod,
                                              enum cv_reason why) {
    struct cv_sock* known = bpf_sk_storage_get(&cv_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

    if (!known) return capture(ctx, sk);
    leave_alone(ctx, sk, why);
    known->note = CV_SOCK_EXCLUDED;
    if (pod->by_rules) set_our_bits(ctx, sk, CV_MARK_PROXY); /* or they would take it */
    return why;
}

static __always_inline enum cv_reason on_connect(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct cv_note_key to = {.netns_cookie = bpf_get_netns_cookie(ctx)};
    struct cv_pod* pod = find_pod(to.netns_cookie);
    struct cv_own_sock* own;
    enum cv_reason why;

    if (!pod && !is_the_nodes(to.netns_cookie)) return CV_REASON_COUNT;

    read_connect(ctx, &to);
    own = bpf_sk_storage_get(&cv_own_socks, sk, 0, 0);
    if (!pod) return own ? CV_REASON_COUNT : note_probe(ctx, &to);
    if (own) return let_own_through(ctx, sk, pod, &to, own->kind);
    if (is_loopback(to.destination_ip, to.family)) return leave_alone(ctx, sk, CV_REASON_CONNECT_LOOPBACK);
    if (is_own(to.netns_cookie, to.destination_ip, to.family)) return leave_alone(ctx, sk, CV_REASON_CONNECT_SELF);
    if (pod->state != CV_POD_CAPTURING) return leave_alone(ctx, sk, CV_REASON_CONNECT_LEAVING);
    why = excluded_outbound(pod, &to);
    return why == CV_REASON_COUNT ? capture(ctx, sk) : exclude(ctx, sk, pod, why);
}

/* A SYN is about to be sent again: its note has died meanwhile. */
static __always_inline void on_rto(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct cv_note_key to = {.netns_cookie = bpf_get_netns_cookie(ctx)};
    struct cv_own_sock* own;

    if (READ(ctx->state) != BPF_TCP_SYN_SENT) return;
    read_connect(ctx, &to);
    own = bpf_sk_storage_get(&cv_own_socks, sk, 0, 0);
    if (own)
        note(ctx, &cv_legs, &to, own->kind == CV_OWN_DIAL ? CV_NOTE_DIAL : CV_NOTE_LEG);
    else if (is_the_nodes(to.netns_cookie))
        note_probe(ctx, &to);
}

/* A listener's own mark would win over the SYN's, and replies of the leg would leave for the real client. All of the
 * mark: the kernel inherits the SYN's only when the listener has none. */
static __always_inline void on_listen(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    __u32 none = 0;

    if (sk->mark == 0 || !find_pod(bpf_get_netns_cookie(ctx)) || bpf_sk_storage_get(&cv_listen_socks, sk, 0, 0)) return;
    bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &none, sizeof(none));
    count(CV_REASON_LISTEN_MARK_ZEROED);
}

/* The app's end of a leg, told by the mark that it inherited from the SYN. Whatever becomes of its mark and of the
 * pod's rules, what it sends belongs to the proxy. */
static __always_inline void hold_to_proxy(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct cv_sock* known;

    if ((sk->mark & CV_MARK_MASK) != CV_MARK_LOOP || !find_pod(bpf_get_netns_cookie(ctx))) return;
    use_reno(ctx);
    known = bpf_sk_storage_get(&cv_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (known) known->note = CV_SOCK_CAPTURED;
}

/* The other end is one of the node's pods. */
static __always_inline int peer_is_here(struct bpf_sock_ops* ctx) {
    struct cv_note_key to = {};

    read_connect(ctx, &to);
    return pod_at_destination(&to) != 0;
}

static __always_inline void on_established(struct bpf_sock_ops* ctx, struct bpf_sock* sk, int accepted) {
    struct cv_listen_sock* listener;
    struct cv_own_sock* own;

    if (accepted) {
        listener = bpf_sk_storage_get(&cv_listen_socks, sk, 0, 0);
        if (!listener) {
            hold_to_proxy(ctx, sk);
            return;
        }
        if (listener->arrival == CV_ARRIVAL_OUTBOUND || peer_is_here(ctx)) use_reno(ctx);
        if (listener->arrival == CV_ARRIVAL_INBOUND_TUNNEL) return; /* a tunnel is not a flow, its streams are */
        open_flow(ctx, listener->arrival == CV_ARRIVAL_OUTBOUND ? CV_FLOW_OUTBOUND : CV_FLOW_INBOUND_PLAIN);
    } else {
        own = bpf_sk_storage_get(&cv_own_socks, sk, 0, 0);
        if (!own) return;
        if (own->kind != CV_OWN_DIAL || peer_is_here(ctx)) use_reno(ctx);
        if (own->kind != CV_OWN_LEG) return;
        open_flow(ctx, CV_FLOW_INBOUND_TUNNEL);
    }
}

/* A captured connect is over, one way or the other. */
static __always_inline void on_state(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    __u32 before = READ(ctx->args[0]), now = READ(ctx->args[1]);
    struct cv_sock* known;

    if (before != BPF_TCP_SYN_SENT) return;
    known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);
    if (!known || known->note != CV_SOCK_CAPTURED) return;
    if (now != BPF_TCP_CLOSE) {
        use_reno(ctx);
        /* What is still to come concerns nobody, unless somebody else had asked for it before us. */
        if (known->asked_for_states)
            bpf_sock_ops_cb_flags_set(ctx, READ(ctx->bpf_sock_ops_cb_flags) & ~BPF_SOCK_OPS_STATE_CB_FLAG);
        return;
    }
    /* Taken back only where nothing was sent: on an established socket the reset that is still to come needs the
     * mark to find its way to the proxy. Left on, the next connect of the same socket would be told EACCES. */
    if ((sk->mark & CV_MARK_MASK) == CV_MARK_REFUSE) count(CV_REASON_CONNECT_REFUSED);
    set_our_bits(ctx, sk, 0);
}

SEC("sockops")
int cv_sockops(struct bpf_sock_ops* ctx) {
    struct bpf_sock* sk = ctx->sk;

    if (!sk) return 1;
    switch (READ(ctx->op)) {
        case BPF_SOCK_OPS_TCP_CONNECT_CB: count(on_connect(ctx, sk)); break;
        case BPF_SOCK_OPS_TCP_LISTEN_CB: on_listen(ctx, sk); break;
        case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: on_established(ctx, sk, 1); break;
        case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: on_established(ctx, sk, 0); break;
        case BPF_SOCK_OPS_RTO_CB: on_rto(ctx, sk); break;
        case BPF_SOCK_OPS_RETRANS_CB: update_flow(ctx); break;
        case BPF_SOCK_OPS_STATE_CB: on_state(ctx, sk); break;
    }
    return 1;
}

SEC("sockops")
int cv_alive(struct bpf_sock_ops* ctx) {
    struct bpf_sock* sk = ctx->sk;
    struct cv_sock* known;
    struct cv_pod* pod;

    if (!sk || READ(ctx->op) != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
    known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);
    if (!known || known->note != CV_SOCK_CAPTURED || (sk->mark & CV_MARK_MASK) != CV_MARK_REFUSE) return 1;
    /* A daemon that has just started speaks only for pods whose listeners it has put in place. */
    pod = find_pod(bpf_get_netns_cookie(ctx));
    if (pod && pod->daemon == this_daemon) set_our_bits(ctx, sk, CV_MARK_LOOP);
    return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
