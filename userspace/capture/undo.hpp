// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/bpf/pod.h>

namespace culvert::capture {

// Takes out of a pod what its pins, or an earlier daemon, put in; `netns` is empty where it is gone. Rules and routes
// go last. With no row, the sysctls stay as they are.
base::Result<> undo(const std::string& pod_pins, const std::optional<cv_pod>& row, base::Fd netns);

// Takes out of every pod what the pins of one home (an instance's, or an old_<n> of it) put in, pods of these cookies
// excepted. Goes on after a failure, and returns the first. The home's own pins stay.
base::Result<> undo_pods(const std::string& home, const std::vector<std::uint64_t>& keep);

// Of several steps that all must be tried, the first failure is told.
void keep_first(base::Result<>& kept, const base::Result<>& next);

}
