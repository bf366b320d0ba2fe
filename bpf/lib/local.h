/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Connections that stay on this machine: an app and the proxy, two of the node's pods. There is no congestion to
 * control, and where the node's default is BBR its timers would hold bytes back in memory. They get reno, which every
 * kernel has and which paces nothing.
 */
#pragma once
#include <linux/in.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>

#include "../maps.h"

/* Not later than in ESTABLISHED_CB: after it the default begins (tcp_init_transfer), and a socket that BBR has had is
 * paced for good. */
static __always_inline void use_reno(struct bpf_sock_ops* ctx) {
    /* A string would be a map of its own. */
    const __u32 reno[] = {bpf_htonl('r' << 24 | 'e' << 16 | 'n' << 8 | 'o'), 0};

    bpf_setsockopt(ctx, IPPROTO_TCP, TCP_CONGESTION, (void*)reno, sizeof("reno"));
}
