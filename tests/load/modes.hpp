// SPDX-License-Identifier: Apache-2.0
// What culvert_load can do. Each returns the exit status.
#pragma once
#include "options.hpp"

namespace culvert::load {

int serve(const Options& options);
int rr(const Options& options);
int crr(const Options& options);
int stream(const Options& options);
int hold(const Options& options);

}
