// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include <culvert/base/result.hpp>

namespace culvert::capture {

// Takes out of every pod what the pins of one home (an instance's, or an old_<n> of it) put in, pods of these cookies
// excepted. Goes on after a failure, and returns the first. The home's own pins stay.
base::Result<> undo_pods(const std::string& home, const std::vector<std::uint64_t>& keep);

// Of several steps that all must be tried, the first failure is told.
void keep_first(base::Result<>& kept, const base::Result<>& next);

}
