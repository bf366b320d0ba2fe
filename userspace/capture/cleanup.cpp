// SPDX-License-Identifier: Apache-2.0
#include "cleanup.hpp"

#include <bpf/bpf.h>

#include <algorithm>

#include <culvert/base/log.hpp>
#include <culvert/capture/capture.hpp>

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

void note_failure(Result<>& first, const Result<>& next) {
    if (!next && first.has_value()) first = next;
}

}

Result<> undo_pods(const std::string& home, const std::vector<std::uint64_t>& keep) {
    Result<> undone;
    Fd pods = pinned(home + "/cv_pods");
    bool readable = speaks_our_schema(home);
    for (std::uint64_t cookie : pods_in(home)) {
        if (std::find(keep.begin(), keep.end(), cookie) != keep.end()) continue;
        auto row = readable ? find_row(pods.get(), cookie) : std::nullopt;
        delete_row(pods.get(), cookie);
        const std::string pod_pins = home + "/pods/" + std::to_string(cookie);
        note_failure(undone, undo(pod_pins, row, find_netns_of(pod_pins, row)));
    }
    return undone;
}

Result<> Capture::cleanup(const std::string& instance) {
    std::string bpffs = mounted_bpffs();
    if (bpffs.empty() || !Pins::exists(bpffs, instance)) return {};
    auto pins = Pins::open(bpffs, instance);
    if (!pins) return pins.error();
    // Sockops first: with it gone no socket gets a mark that the pods will no longer understand.
    std::vector<std::string> homes = pins->olds();
    homes.push_back(pins->home());
    for (const std::string& home : homes) unpin(home + "/sockops");
    Result<> undone;
    for (const std::string& home : homes) note_failure(undone, undo_pods(home, {}));
    pins->remove();
    return undone;
}

}
