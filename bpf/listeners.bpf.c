/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Listeners that sockops did not see begin, or that took a mark afterwards: a walk over the TCP sockets of one netns
 * takes every app's mark off. Run by reading the iterator to its end in the pod's netns. Needs Linux 5.16; without it
 * the guard drops what such a listener answers to a leg.
 */
#include "lib/count.h"
#include "maps.h"

#include <asm-generic/socket.h>

struct bpf_iter_meta;

struct sock_common {
    __u8 skc_state;
} __attribute__((preserve_access_index));

struct sock {
    __u32 sk_mark;
} __attribute__((preserve_access_index));

struct tcp_sock;

struct bpf_iter__tcp {
    struct bpf_iter_meta* meta;
    struct sock_common* sk_common;
};

SEC("iter/tcp")
int cv_unmark_listeners(struct bpf_iter__tcp* ctx) {
    struct sock_common* common = ctx->sk_common;
    struct tcp_sock* tcp;
    __u32 none = 0;

    if (!common || common->skc_state != BPF_TCP_LISTEN) return 0;
    tcp = bpf_skc_to_tcp_sock(common);
    if (!tcp || ((struct sock*)tcp)->sk_mark == 0 || bpf_sk_storage_get(&cv_listen_socks, tcp, 0, 0)) return 0;
    if (!bpf_setsockopt(tcp, SOL_SOCKET, SO_MARK, &none, sizeof(none))) count(CV_REASON_LISTEN_MARK_ZEROED);
    return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
