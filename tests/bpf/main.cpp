// SPDX-License-Identifier: Apache-2.0
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>

#include <culvert/base/log.hpp>

int main(int argc, char** argv) {
    if (::geteuid() != 0) {
        std::puts("skipped: needs root");
        return 77;
    }
    culvert::base::log::configure(culvert::base::log::Level::warn, culvert::base::log::Format::text);
    return doctest::Context{argc, argv}.run();
}
