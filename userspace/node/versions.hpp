// SPDX-License-Identifier: Apache-2.0
// What this binary is made of: for bug reports, and to see that a build is the one that it should be.
#pragma once
#include <string>

namespace culvert::node {

// Culvert's own version and commit, then a line each: the compiler, and the libraries that decide how it behaves, as
// they run and as they were when it was compiled.
std::string versions();

}
