/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps.h"

static __always_inline void count(enum cv_reason reason) {
    __u32 row = 0;
    struct cv_counts* counts = bpf_map_lookup_elem(&cv_counts, &row);

    if (counts && (__u32)reason < CV_REASON_COUNT)
        ((__u64*)counts)[(__u32)reason]++; /* per CPU, and programs are not preempted by each other's */
}
