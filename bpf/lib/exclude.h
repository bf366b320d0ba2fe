/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What a pod lets bypass the proxy. Walked whole and without branches: the verifier would follow every way out of a
 * loop, and the lists are short. Nothing of it runs for a pod that excludes nothing.
 */
#pragma once
#include "address.h"

/* Four ports at a time: a lane that is 0 borrows, and shows it in its highest bit. */
static __always_inline __u32 has_port(const __u16* ports, __u16 port) {
    const __u64 ones = 0x0001000100010001ull, *four = (const __u64*)ports;
    __u64 found = 0;

#pragma unroll
    for (int i = 0; i < CV_EXCLUDED_PORTS / 4; i++) {
        __u64 differs = four[i] ^ port * ones;

        found |= (differs - ones) & ~differs & ones << 15;
    }
    barrier_var(found);
    return found && port != 0; /* what unused places hold */
}

static __always_inline __u32 in_range(const struct cv_range* range, const __u8* ip, enum cv_family family) {
    const __u64 *from = (const __u64*)range->ip, *mask = (const __u64*)range->mask;
    __u64 at[2], differs;

    __builtin_memcpy(at, ip, 16);
    differs = ((at[0] ^ from[0]) & mask[0]) | ((at[1] ^ from[1]) & mask[1]) | (family ^ range->family);
    return equals(differs | differs >> 32, 0);
}

static __always_inline __u32 in_ranges(const struct cv_range* ranges, const __u8* ip, enum cv_family family) {
    __u32 found = 0;

#pragma unroll
    for (int i = 0; i < CV_EXCLUDED_RANGES; i++) found |= in_range(&ranges[i], ip, family);
    barrier_var(found);
    return found;
}

/* CV_REASON_COUNT: the proxy's, as everything else. */
static __always_inline enum cv_reason excluded_outbound(const struct cv_pod* pod, const struct cv_note_key* to) {
    if (!(pod->excludes & CV_EXCLUDES_OUTBOUND)) return CV_REASON_COUNT;
    if (has_port(pod->outbound_ports, to->destination_port)) return CV_REASON_CONNECT_EXCLUDED_PORT;
    if (in_ranges(pod->outbound_ranges, to->destination_ip, to->family)) return CV_REASON_CONNECT_EXCLUDED_CIDR;
    return CV_REASON_COUNT;
}

static __always_inline __u32 excluded_inbound(const struct cv_pod* pod, __u16 port) {
    return (pod->excludes & CV_EXCLUDES_INBOUND) && has_port(pod->inbound_ports, port);
}
