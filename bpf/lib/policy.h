/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What the pod's policies say of a plain connection: refuse it, or let the proxy decide. Only for one that would be
 * steered to the proxy as such, hence the same questions as in cv_lookup.
 */
#pragma once
#include <culvert/bpf/marks.h>

#include "exclude.h"
#include "note.h"
#include "pod.h"

/* 1 if a >= b, without a branch. */
static __always_inline __u32 at_least(__u32 a, __u32 b) {
    __u64 difference = (__u64)a - b;

    barrier_var(difference);
    return (difference >> 63) ^ 1;
}

static __always_inline __u32 fits(const struct cv_policy_rule* rule, const struct cv_note_key* syn) {
    return in_range(&rule->source, syn->source_ip, syn->family) & at_least(syn->destination_port, rule->from_port) &
           at_least(rule->to_port, syn->destination_port);
}

static __always_inline __u32 first_that_fits(const struct cv_policy* policy, const struct cv_note_key* syn) {
    __u32 verdict = CV_POLICY_UNUSED;

    for (__u32 i = 0; i < CV_POLICY_RULES; i++) {
        const struct cv_policy_rule* rule = &policy->rules[i];
        __u32 undecided;

        if (i >= policy->count) break;
        undecided = equals(verdict, CV_POLICY_UNUSED);
        verdict |= rule->verdict * (fits(rule, syn) & undecided);
        barrier_var(verdict);
    }
    return verdict;
}

static __always_inline struct cv_policy* find_policy(__u64 netns_cookie) {
    struct cv_pod_key key = {.netns_cookie = netns_cookie};

    return bpf_map_lookup_elem(&cv_policy, &key);
}

/* Would be given to the proxy as a plain connection. Never one to loopback, or to somebody behind the pod. */
static __always_inline int is_plain_inbound(__u64 netns, const struct cv_note_key* syn, __u32 ifindex) {
    const struct cv_pod* pod = find_pod(netns);
    struct words source;

    __builtin_memcpy(&source, syn->source_ip, 16);
    if (syn->destination_port == CV_TUNNEL_PORT || !pod || pod->state != CV_POD_CAPTURING) return 0;
    /* The kernel drops those that claim to be somebody's loopback, or IPv4 in IPv6. */
    if (is_loopback(syn->source_ip, syn->family) || (syn->family == CV_IPV6 && is_mapped(&source))) return 0;
    return is_own(netns, syn->destination_ip, syn->family) && !is_virtual_interface(pod, ifindex) &&
           !is_fresh(bpf_map_lookup_elem(&cv_probes, syn)) && !excluded_inbound(pod, syn->destination_port);
}

static __always_inline __u64 version_of(const struct cv_policy* policy) {
    return *(const volatile __u64*)&policy->version;
}

/* Always 0, which compilers cannot know, and a CPU does not know before it has the value: whose address is made with it
 * is loaded after the value was. Costs no barrier, on any architecture. */
static __always_inline __u64 nothing_of(__u64 value) {
    asm volatile("%0 &= 0" : "+r"(value));
    return value;
}

/* An exchange is a full barrier, of the JITs of x86 (lock), arm64 (LSE with acquire and release; else a dmb) and of the
 * interpreter. What is added to, compared with or given up need not be. */
static __always_inline void full_barrier(void) {
    __u64 word = 0;
    __u64 before = __sync_lock_test_and_set(&word, 1);

    barrier_var(before);
}

/* A row that is replaced may be written over while it is read, and its words may then be seen in any order. Only this
 * is sure, of the kernel's hash tables: what is found there was complete before, and is written over only after it can
 * be found no more. So the row is found after its version was read, the rules are read after that, and the row is found
 * again after them; the version, which no other write ever has, is one and the same all the time. */
static __always_inline int refuses(__u64 netns, const struct cv_note_key* syn, __u32 ifindex) {
    const struct cv_policy* policy = find_policy(netns);
    __u64 version;

    if (!policy) return 0;
    version = version_of(policy);
    policy = find_policy(netns + nothing_of(version));
    if (!policy || version_of(policy) != version) return 0;
    if (first_that_fits(policy, syn) != CV_POLICY_REFUSE || !is_plain_inbound(netns, syn, ifindex)) return 0;
    full_barrier();
    policy = find_policy(netns);
    return policy && version_of(policy) == version;
}
