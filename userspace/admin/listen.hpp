// SPDX-License-Identifier: Apache-2.0
// A listening socket for a door, and what to do when there is none.
#pragma once
#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::admin {

// Non-blocking. [::] also takes IPv4; without IPv6 it becomes 0.0.0.0.
base::Result<base::Fd> listen_on(const base::SocketAddress& address);

}
