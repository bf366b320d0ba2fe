// SPDX-License-Identifier: Apache-2.0
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include <culvert/base/log.hpp>

int main(int argc, char** argv) {
    if (::geteuid() != 0) {
        std::puts("skipped: needs root");
        return 77;
    }
    // Sockets of the tests that need no pod live in a namespace of their own, too.
    if (::unshare(CLONE_NEWNET) != 0 || std::system("ip link set lo up") != 0) return 1;
    culvert::base::log::configure(culvert::base::log::Level::warn, culvert::base::log::Format::text);
    return doctest::Context{argc, argv}.run();
}
