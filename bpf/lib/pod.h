/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps.h"

static __always_inline struct cv_pod* find_pod(__u64 netns_cookie) {
    struct cv_pod_key key = {.netns_cookie = netns_cookie};

    return bpf_map_lookup_elem(&cv_pods, &key);
}
