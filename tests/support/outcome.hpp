// SPDX-License-Identifier: Apache-2.0
// What the run as a whole knows: whether something failed, in which capture mode it is, which case runs for which
// families and captures.
#pragma once
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "lab.hpp"

// After a test case's name: which address families it runs for. `families()` is that list, so the matrix cannot lie.
#define IPV4 *doctest::description("IPv4")
#define IPV6 *doctest::description("IPv6")
#define BOTH_FAMILIES *doctest::description("IPv4 IPv6")

// After the families, where only one capture can do it: what the other lacks. There the case does not run, and the
// matrix prints the reason.
#define EBPF_ONLY(why) *culvert::test::only_in("ebpf", why)
#define RULES_ONLY(why) *culvert::test::only_in("iptables", why)
#define NO_CAPTURE EBPF_ONLY("nothing is captured in it, so once is enough")

namespace culvert::test {

bool anything_failed();
bool this_case_failed();
// A failure outside of any assertion: leftovers, a daemon that crashed while it was torn down.
void note_failure(const std::string& what);

// Those the build has switched on: CULVERT_CAPTURES.
const std::vector<std::string>& capture_modes();
// This process's: CULVERT_CAPTURE of the environment, or the first one.
const std::string& capture_mode();
std::vector<Family> families();  // of the running case

struct OnlyIn {
    std::string capture;
    std::string why;
    void fill(doctest::detail::TestCase& test) const;
};
inline OnlyIn only_in(std::string capture, std::string why) {
    return {std::move(capture), std::move(why)};
}

// For `--matrix` instead of the cases: a row for each case, capture and family.
inline constexpr const char* matrix_reporter = "matrix";

}
