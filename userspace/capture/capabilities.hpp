// SPDX-License-Identifier: Apache-2.0
// What the process may do; docs/SECURITY.md says what each is for.
#pragma once
#include <span>

#include <culvert/base/result.hpp>

namespace culvert::capture {

struct Capability {
    int number;
    const char* name;
};

// Fails with one sentence that names those that are missing.
base::Result<> check_capabilities(std::span<const Capability> wanted);

}
