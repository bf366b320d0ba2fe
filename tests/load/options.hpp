// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/base/result.hpp>

namespace culvert::load {

// "7000" or "7000x4": the ports 7000 to 7003.
struct Ports {
    std::uint16_t first = 0;
    std::uint16_t count = 0;
    std::uint16_t nth(std::uint64_t n) const noexcept { return static_cast<std::uint16_t>(first + n % count); }
};

struct Options {
    std::string mode;
    base::IpAddress host;
    Ports ports;
    std::size_t connections = 1;
    std::size_t bytes = 64;
    std::size_t write = 65536;
    double seconds = 1;
    double warm = 0.2;
    double rate = 0;  // operations per second, all connections together
    std::vector<pid_t> account;
    std::vector<base::IpAddress> each;
    bool nodelay = false;

    // serve
    Ports echo;
    Ports sink;
    base::IpAddress address = base::IpAddress::any(AF_INET6);
    bool until_eof = false;
    bool corrupt = false;
};

extern const char* const usage;

// Without a mode: help was asked for.
base::Result<Options> parse_options(const std::vector<std::string>& arguments);

}
