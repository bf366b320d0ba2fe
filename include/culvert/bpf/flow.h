/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * A live connection, as people read it in `bpftool map dump name cv_flows`.
 */
#pragma once
#include <culvert/bpf/shared.h>

enum cv_flow_kind {
    CV_FLOW_NONE = 0,
    CV_FLOW_OUTBOUND = 1,       /* from the pod's app */
    CV_FLOW_INBOUND_PLAIN = 2,  /* to the pod, without a tunnel */
    CV_FLOW_INBOUND_TUNNEL = 3, /* to the pod, out of a tunnel */
};

enum cv_flow_state {
    CV_FLOW_FREE = 0,
    CV_FLOW_OPEN = 1,
};

enum cv_flow_path {
    CV_PATH_UNDECIDED = 0,
    CV_PATH_TUNNEL = 1,
    CV_PATH_PLAIN = 2,
    CV_PATH_SHORTCUT = 3,
};

/* Set in cv_flow.owner while a worker holds the row. Socket cookies never get this far. */
#define CV_FLOW_HELD (1ull << 63)

/* A connection gets one of the first rows as long as they have room, then one of twice as many, and so on: the daemon
 * maps what is used, and a mapped row counts as its memory. A power of two, and of whole pages. */
#define CV_FLOW_NEAR_ROWS 2048u

/* A socket's row is one of those that its cookie names: 16 of the near rows, 8 of twice, of four times as many, of all.
 * Cookies are handed out in order, so connections made together are neighbours, and whoever comes round to a crowd of
 * them that stays for long must look elsewhere: the tries are far apart, so that a few find a free row until the table
 * is nearly full. The stride is odd: no try meets an earlier one of the same part. */
#define CV_FLOW_TRIES 40
#define CV_FLOW_INLINE static inline __attribute__((always_inline)) __u32

CV_FLOW_INLINE cv_flow_tries(__u32 rows) {
    return rows <= CV_FLOW_NEAR_ROWS       ? 16
           : rows <= 2 * CV_FLOW_NEAR_ROWS ? 24
           : rows <= 4 * CV_FLOW_NEAR_ROWS ? 32
                                           : 40;
}

CV_FLOW_INLINE cv_flow_row(__u64 cookie, __u32 attempt, __u32 rows) {
    __u32 part = attempt < 16 ? 0 : (attempt - 8) / 8;
    __u32 within = part == 3 || (CV_FLOW_NEAR_ROWS << part) > rows ? rows : CV_FLOW_NEAR_ROWS << part;

    return ((__u32)cookie + (part ? attempt % 8 : attempt) * 0x9e3779b1u) & (within - 1);
}

/* Five cache lines, so that two workers never write the same one. */
struct cv_flow {
    __u64 owner; /* cookie of the socket, | CV_FLOW_HELD; 0: free. Taken by compare-and-swap from either world */
    __u64 netns_cookie;
    __u64 start_ns; /* CLOCK_MONOTONIC */
    __u64 from_source_bytes;
    __u64 to_source_bytes;
    __u8 source_ip[16]; /* who connected. IPv4 as ::ffff:a.b.c.d */
    __u8 destination_ip[16];
    __u16 source_port;
    __u16 destination_port;
    enum cv_flow_kind kind;
    enum cv_flow_state state;
    enum cv_flow_path path;
    __u32 rtt_us; /* of the socket in the pod, when it was established or last retransmitted */
    __u32 retransmits;
    char source[112]; /* identities, cut to fit */
    char destination[112];
};
CV_SHARED(cv_flow, 320);
