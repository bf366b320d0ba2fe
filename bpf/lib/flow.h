/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Rows of cv_flows: born here, lent to a worker, and dead here unless a worker still holds them.
 */
#pragma once
#include "address.h"
#include "count.h"

const volatile __u32 flow_rows = 1; /* a power of two */

/* Cookies are handed out in order, so connections made together are neighbours, and whoever comes round to a crowd of
 * them that stays for long must look elsewhere: the tries are far apart, so that a few find a free row until the table
 * is nearly full. The stride is odd: no try meets an earlier one. */
#define FLOW_STRIDE 0x9e3779b1u
#define FLOW_PARTS 4 /* the near rows, twice, four times as many, all */
#define FLOW_TRIES(part) ((part) == 0 ? 16 : 8)

static __always_inline struct cv_flow* take_row(__u64 cookie, __u32* index) {
    __u32 rows = CV_FLOW_NEAR_ROWS;
    struct cv_flow* row;

#pragma unroll
    for (int part = 0; part < FLOW_PARTS; part++) {
        if (part == FLOW_PARTS - 1 || rows > flow_rows) rows = flow_rows;
#pragma unroll
        for (int i = 0; i < FLOW_TRIES(part); i++) {
            *index = ((__u32)cookie + i * FLOW_STRIDE) & (rows - 1);
            row = bpf_map_lookup_elem(&cv_flows, index);
            if (row && __sync_val_compare_and_swap(&row->owner, 0, cookie) == 0) return row;
        }
        if (rows == flow_rows) return 0;
        rows *= 2;
    }
    return 0;
}

static __always_inline void read_figures(struct bpf_sock_ops* ctx, struct cv_flow* row) {
    row->rtt_us = READ(ctx->srtt_us) >> 3;
    row->retransmits = READ(ctx->total_retrans);
}

static __always_inline void fill_ends(struct bpf_sock_ops* ctx, struct cv_flow* row, int accepted) {
    __u32 family = READ(ctx->family);
    __u32 local4 = READ(ctx->local_ip4), remote4 = READ(ctx->remote_ip4);
    __u16 local_port = READ(ctx->local_port), remote_port = bpf_ntohl(READ(ctx->remote_port));
    struct words local = {
        {READ(ctx->local_ip6[0]), READ(ctx->local_ip6[1]), READ(ctx->local_ip6[2]), READ(ctx->local_ip6[3])}};
    struct words remote = {
        {READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]), READ(ctx->remote_ip6[3])}};

    if (family == CV_IPV4) {
        local = (struct words){{0, 0, bpf_htonl(0xffff), local4}};
        remote = (struct words){{0, 0, bpf_htonl(0xffff), remote4}};
    }
    write_ip(row->source_ip, accepted ? &remote : &local);
    write_ip(row->destination_ip, accepted ? &local : &remote);
    row->source_port = accepted ? remote_port : local_port;
    row->destination_port = accepted ? local_port : remote_port;
}

static __always_inline void open_flow(struct bpf_sock_ops* ctx, struct bpf_sock* sk, enum cv_flow_kind kind) {
    struct cv_sock* known = bpf_sk_storage_get(&cv_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    __u64 cookie = bpf_get_socket_cookie(ctx);
    struct cv_flow* row;
    __u32 index = 0;

    row = known ? take_row(cookie, &index) : 0;
    if (!row) {
        count(CV_REASON_FLOWS_FULL);
        return;
    }
    known->note = CV_SOCK_FLOW;
    known->row = index;
    known->cookie = cookie;
    row->netns_cookie = bpf_get_netns_cookie(ctx);
    row->start_ns = bpf_ktime_get_ns();
    row->from_source_bytes = 0;
    row->to_source_bytes = 0;
    row->kind = kind;
    row->path = CV_PATH_UNDECIDED;
    fill_ends(ctx, row, kind != CV_FLOW_INBOUND_TUNNEL);
    read_figures(ctx, row);
    __builtin_memset(row->source, 0, sizeof(row->source));
    __builtin_memset(row->destination, 0, sizeof(row->destination));
    row->state = CV_FLOW_OPEN;
    bpf_sock_ops_cb_flags_set(
        ctx, READ(ctx->bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG);
    count(CV_REASON_FLOW_OPENED);
}

/* The socket's row, unless it has moved on to another socket. */
static __always_inline struct cv_flow* own_row(const struct cv_sock* known) {
    __u32 index = known->row;
    struct cv_flow* row = bpf_map_lookup_elem(&cv_flows, &index);

    return row && (row->owner & ~CV_FLOW_HELD) == known->cookie ? row : 0;
}

static __always_inline void update_flow(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
    struct cv_sock* known = bpf_sk_storage_get(&cv_socks, sk, 0, 0);
    struct cv_flow* row = known && known->note == CV_SOCK_FLOW ? own_row(known) : 0;

    if (row) read_figures(ctx, row);
}

static __always_inline void close_flow(struct bpf_sock_ops* ctx, struct cv_sock* known) {
    struct cv_flow* row = own_row(known);

    known->note = CV_SOCK_PLAIN;
    if (!row) return;
    read_figures(ctx, row);
    row->state = CV_FLOW_FREE;
    if (__sync_val_compare_and_swap(&row->owner, known->cookie, 0) != known->cookie)
        row->state = CV_FLOW_CLOSED; /* a worker holds it, and will free it */
}
