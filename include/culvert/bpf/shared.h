/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What every struct that both worlds see must obey: a size written down, and no byte of hidden padding.
 * Hidden padding reaches the kernel as garbage and makes equal keys different.
 */
#pragma once
#include <linux/types.h>

#ifdef __cplusplus
#include <type_traits>
#define CV_SHARED(name, bytes)                                                         \
    static_assert(sizeof(struct name) == (bytes), #name " has the size written down"); \
    static_assert(std::has_unique_object_representations_v<struct name>, #name " has no hidden padding")
#else
#define CV_SHARED(name, bytes) _Static_assert(sizeof(struct name) == (bytes), #name " has the size written down")
#endif

/* Families are part of every address key: ::ffff:10.0.0.7 in an IPv6 packet is not 10.0.0.7. */
enum cv_family {
    CV_IPV4 = 2,
    CV_IPV6 = 10,
};
