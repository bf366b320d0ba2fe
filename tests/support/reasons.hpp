// SPDX-License-Identifier: Apache-2.0
// How often each cv_reason was counted, over all daemons of the run, and over the runs that share a folder
// (CULVERT_REASONS_DIR): ctest runs the suite as several processes.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "metrics.hpp"

namespace culvert::test::reasons {

// From a daemon's metrics page; of one instance, the highest count of each reason stands.
void add(const std::string& instance, const Samples& samples);
// Everything so far: stopped daemons, living ones, and other processes of the run.
std::map<std::string, std::uint64_t> table();
// For the other processes.
void save();

}
