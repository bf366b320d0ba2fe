/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Addresses in the one format of all maps: 16 bytes, IPv4 mapped, the family beside it.
 */
#pragma once
#include <bpf/bpf_endian.h>

#include "../maps.h"

/* A field of a context, read here and now. clang 14 moves such loads behind a branch and merges two of them into one
 * through a computed pointer; the verifier answers "dereference of modified ctx ptr". */
#define READ(field)             \
    ({                          \
        __u32 value_ = (field); \
        barrier_var(value_);    \
        value_;                 \
    })

struct words {
    __u32 w[4];
};

static __always_inline int is_mapped(const struct words* ip) {
    return ip->w[0] == 0 && ip->w[1] == 0 && ip->w[2] == bpf_htonl(0xffff);
}

static __always_inline void write_ip(__u8* out, const struct words* ip) {
    __builtin_memcpy(out, ip, 16);
}

static __always_inline void write_ip4(__u8* out, __u32 ip) {
    struct words mapped = {{0, 0, bpf_htonl(0xffff), ip}};

    write_ip(out, &mapped);
}

/* 1 if equal, without a branch: the verifier follows every combination of those. */
static __always_inline __u32 equals(__u32 a, __u32 b) {
    __u64 differs = a ^ b;

    barrier_var(differs);
    return (differs - 1) >> 63;
}

/* 127/8 in IPv4; ::1 in IPv6. */
static __always_inline int is_loopback(const __u8* ip, enum cv_family family) {
    struct words words;
    __u32 is_ipv4, found;

    __builtin_memcpy(&words, ip, 16);
    is_ipv4 = equals(family, CV_IPV4);
    found = (is_ipv4 & equals(words.w[3] & bpf_htonl(0xff000000), bpf_htonl(0x7f000000))) |
            ((is_ipv4 ^ 1) & equals(words.w[0] | words.w[1] | words.w[2] | (words.w[3] ^ bpf_htonl(1)), 0));
    barrier_var(found);
    return found;
}

static __always_inline int is_own(__u64 netns_cookie, const __u8* ip, enum cv_family family) {
    struct cv_own_ip_key key = {.netns_cookie = netns_cookie, .family = family};

    __builtin_memcpy(key.ip, ip, 16);
    return bpf_map_lookup_elem(&cv_own_ips, &key) != 0;
}
