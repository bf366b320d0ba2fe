// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <cstdio>

#include <fmt/format.h>

#include "modes.hpp"
#include "sockets.hpp"

using namespace culvert::load;

int main(int count, char** arguments) {
    const auto options = parse_options({arguments + 1, arguments + count});
    if (!options) {
        fmt::print(stderr, "culvert_load: {}\n", options.error().to_string());
        return 2;
    }
    ::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (options->mode == "serve") return serve(*options);
    if (options->mode == "rr" || options->mode == "rate") return rr(*options);
    if (options->mode == "crr") return crr(*options);
    if (options->mode == "stream") return stream(*options);
    if (options->mode == "hold") return hold(*options);
    fmt::print("{}", usage);
    return 0;
}
