// SPDX-License-Identifier: Apache-2.0
// What a target does when a promise is broken: says which, and ends, so that libFuzzer keeps the input.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>

namespace fuzz {

inline void require(bool truth, const std::string& promise) {
    if (truth) return;
    std::fprintf(stderr, "BROKEN: %s\n", promise.c_str());
    std::abort();
}

}
