/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "count.h"

/* Wakes nobody: the daemon looks now and then, so that a flood costs it no more than that. */
static __always_inline void tell(const struct cv_note_key* syn, enum cv_reason reason) {
    struct cv_event* event = bpf_ringbuf_reserve(&cv_events, sizeof(*event), 0);

    if (!event) {
        count(CV_REASON_EVENTS_FULL);
        return;
    }
    event->at_ns = bpf_ktime_get_ns();
    event->netns_cookie = syn->netns_cookie;
    __builtin_memcpy(event->source_ip, syn->source_ip, 16);
    __builtin_memcpy(event->destination_ip, syn->destination_ip, 16);
    event->source_port = syn->source_port;
    event->destination_port = syn->destination_port;
    event->family = syn->family;
    event->reason = reason;
    event->pad = 0;
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}
