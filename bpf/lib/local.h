/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Connections that stay on this machine: an app and the proxy, two of the node's pods. There is no congestion to
 * control, and where the node's default is BBR its timers would hold bytes back in memory. They get reno, which every
 * kernel has and which paces nothing.
 */
#pragma once
#include <linux/in.h>
#include <linux/tcp.h>

#include "address.h"

static __always_inline int peer_is_here(struct bpf_sock_ops* ctx) {
    __u32 family = READ(ctx->family), remote4 = READ(ctx->remote_ip4);
    struct words remote6 = {
        {READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]), READ(ctx->remote_ip6[3])}};
    struct cv_pod_ip_key key = {.family = CV_IPV6};

    if (family == CV_IPV4 || is_mapped(&remote6)) {
        key.family = CV_IPV4;
        write_ip4(key.ip, remote4);
    } else {
        write_ip(key.ip, &remote6);
    }
    return bpf_map_lookup_elem(&cv_pod_ips, &key) != 0;
}

/* Not later than in ESTABLISHED_CB: after it the default begins (tcp_init_transfer), and a socket that BBR has had is
 * paced for good. */
static __always_inline void use_reno(struct bpf_sock_ops* ctx) {
    /* A string would be a map of its own. */
    const __u32 reno[] = {bpf_htonl('r' << 24 | 'e' << 16 | 'n' << 8 | 'o'), 0};

    bpf_setsockopt(ctx, IPPROTO_TCP, TCP_CONGESTION, (void*)reno, sizeof("reno"));
}
