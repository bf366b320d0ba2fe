// SPDX-License-Identifier: Apache-2.0
// What the run as a whole knows: whether something failed, in which capture mode it is, which case runs for which
// families.
#pragma once
#include <string>
#include <vector>

#include "lab.hpp"

// After a test case's name: which address families it runs for. `families()` is that list, so the matrix cannot lie.
#define IPV4 *doctest::description("IPv4")
#define IPV6 *doctest::description("IPv6")
#define BOTH_FAMILIES *doctest::description("IPv4 IPv6")

namespace culvert::test {

bool anything_failed();
// A failure outside of any assertion: leftovers, a daemon that crashed while it was torn down.
void note_failure(const std::string& what);

const std::vector<std::string>& capture_modes();
const std::string& capture_mode();
std::vector<Family> families();  // of the running case

}
