/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps.h"

static __always_inline int is_fresh(const struct cv_note* note) {
    return note && bpf_ktime_get_ns() - note->at_ns < CV_NOTE_LIFE_NS;
}
