/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What a pod's policies say of plain connections, as far as source address and destination port tell, as people read
 * it in `bpftool map dump name cv_policy`; and what the kernel says of those that it refused.
 */
#pragma once
#include <culvert/bpf/pod.h>
#include <culvert/bpf/reasons.h>

#define CV_POLICY_RULES 32

enum cv_policy_verdict {
    CV_POLICY_UNUSED = 0,
    CV_POLICY_REFUSE = 1, /* the proxy would refuse it, too */
    CV_POLICY_LEAVE = 2,  /* an exception: the proxy decides, as for what no rule fits */
};

enum cv_policy_extent {
    CV_POLICY_WHOLE = 1, /* the proxy refuses no other plain connection */
    CV_POLICY_PART = 2,  /* it may: policies ask for more than the kernel knows, or are more than fit in here */
};

struct cv_policy_rule {
    struct cv_range source;
    __u16 from_port; /* of the destination */
    __u16 to_port;   /* the last one */
    enum cv_policy_verdict verdict;
};
CV_SHARED(cv_policy_rule, 48);

/* The first rule that fits says. One write changes all of it. */
struct cv_policy {
    __u32 count; /* of rules */
    enum cv_policy_extent extent;
    struct cv_policy_rule rules[CV_POLICY_RULES];
    __u64 version; /* unlike that of any other write: bpf/lib/policy.h tells by it whether it has read one policy */
};
CV_SHARED(cv_policy, 1552);

/* A connection that the kernel has refused, out of cv_events. */
struct cv_event {
    __u64 at_ns; /* CLOCK_MONOTONIC */
    __u64 netns_cookie;
    __u8 source_ip[16];
    __u8 destination_ip[16];
    __u16 source_port;
    __u16 destination_port;
    enum cv_family family;
    enum cv_reason reason;
    __u32 pad; /* always 0 */
};
CV_SHARED(cv_event, 64);
