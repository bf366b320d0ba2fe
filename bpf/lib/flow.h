/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Rows of cv_flows: born here, lent to a worker, which frees them. No program runs when a connection ends: each state
 * that a socket enters would be a call of its own.
 */
#pragma once
#include "address.h"
#include "count.h"

const volatile __u32 flow_rows = 1; /* a power of two */

static __always_inline struct cv_flow* try_row(__u64 cookie, __u32 attempt) {
    __u32 index = cv_flow_row(cookie, attempt, flow_rows);

    return bpf_map_lookup_elem(&cv_flows, &index);
}

static __always_inline struct cv_flow* take_row(__u64 cookie) {
    struct cv_flow* row;

#pragma unroll
    for (__u32 i = 0; i < CV_FLOW_TRIES; i++) {
        if (i >= cv_flow_tries(flow_rows)) break;
        row = try_row(cookie, i);
        if (row && __sync_val_compare_and_swap(&row->owner, 0, cookie) == 0) return row;
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

static __always_inline void open_flow(struct bpf_sock_ops* ctx, enum cv_flow_kind kind) {
    struct cv_flow* row = take_row(bpf_get_socket_cookie(ctx));

    if (!row) {
        count(CV_REASON_FLOWS_FULL);
        return;
    }
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
    bpf_sock_ops_cb_flags_set(ctx, READ(ctx->bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_RETRANS_CB_FLAG);
    count(CV_REASON_FLOW_OPENED);
}

static __always_inline struct cv_flow* own_row(__u64 cookie) {
    struct cv_flow* row;

#pragma unroll
    for (__u32 i = 0; i < CV_FLOW_TRIES; i++) {
        if (i >= cv_flow_tries(flow_rows)) break;
        row = try_row(cookie, i);
        if (row && (row->owner & ~CV_FLOW_HELD) == cookie) return row;
    }
    return 0;
}

static __always_inline void update_flow(struct bpf_sock_ops* ctx) {
    struct cv_flow* row = own_row(bpf_get_socket_cookie(ctx));

    if (row) read_figures(ctx, row);
}
