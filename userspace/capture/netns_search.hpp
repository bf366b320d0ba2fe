// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include <culvert/base/fd.hpp>

namespace culvert::capture {

std::uint32_t netns_inode(int netns) noexcept;

// A network namespace by its inode: among the mounted ones, then among those of all processes. Empty when it is gone,
// or kept alive by something that cannot be entered.
base::Fd find_netns(std::uint32_t inode);

}
