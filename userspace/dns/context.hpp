// SPDX-License-Identifier: Apache-2.0
// What all pods of the server use. Lives on: its loop.
#pragma once
#include <array>
#include <memory>
#include <random>

#include <culvert/base/loop.hpp>
#include <culvert/dns/server.hpp>

#include "counters.hpp"
#include "resolv_conf.hpp"

namespace culvert::dns {

// What nobody can foresee who does not see it: from the kernel, a page at a time.
class Ids {
public:
    std::uint16_t next();

private:
    std::array<std::uint16_t, 128> numbers_{};
    std::size_t left_ = 0;
};

struct Context {
    base::Loop& loop;
    const Settings& settings;
    Counters& counters;
    Nameservers nameservers;
    std::shared_ptr<const Names> names = {};  // null until a mesh is published
    Random random{std::random_device{}()};
    Ids ids = {};
    std::array<std::uint8_t, longest_message> buffer = {};  // what is received, until it is looked at
};

}
