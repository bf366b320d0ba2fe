/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "address.h"

static __always_inline struct cv_pod* find_pod(__u64 netns_cookie) {
    struct cv_pod_key key = {.netns_cookie = netns_cookie};

    return bpf_map_lookup_elem(&cv_pods, &key);
}

/* Of a VM or a nested container. */
static __always_inline int is_virtual_interface(const struct cv_pod* pod, __u32 ifindex) {
    __u32 found = 0;

#pragma unroll
    for (int i = 0; i < CV_VIRTUAL_INTERFACES; i++) found |= equals(pod->virtual_interfaces[i], ifindex);
    barrier_var(found);
    return found && ifindex != 0;
}
