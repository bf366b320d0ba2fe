// SPDX-License-Identifier: Apache-2.0
#include "undo.hpp"

#include <bpf/bpf.h>

#include <algorithm>

#include <culvert/base/log.hpp>

#include "kernel.hpp"
#include "pins.hpp"
#include "pod.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

bool speaks_our_schema(const std::string& home) {
    Fd schema = pinned(home + "/cv_schema");
    std::uint32_t row = 0;
    cv_schema found{};
    return schema && bpf_map_lookup_elem(schema.get(), &row, &found) == 0 && found.version == CV_SCHEMA_VERSION;
}

}

void keep_first(Result<>& kept, const Result<>& next) {
    if (!next && kept.has_value()) kept = next;
}

Result<> undo_pods(const std::string& home, const std::vector<std::uint64_t>& keep) {
    Result<> undone;
    Fd pods = pinned(home + "/cv_pods");
    Fd policies = pinned(home + "/cv_policy");
    bool readable = speaks_our_schema(home);
    for (std::uint64_t cookie : pods_in(home)) {
        if (std::find(keep.begin(), keep.end(), cookie) != keep.end()) continue;
        auto row = readable ? find_row(pods.get(), cookie) : std::nullopt;
        const std::string pod_pins = home + "/pods/" + std::to_string(cookie);
        auto done = undo(pod_pins, row, find_netns_of(pod_pins, row));
        keep_first(undone, done);
        delete_row(policies.get(), cookie);
        if (done) delete_row(pods.get(), cookie);  // else it tells the next try what the sysctls were
    }
    return undone;
}

}
