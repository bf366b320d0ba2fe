// SPDX-License-Identifier: Apache-2.0
// What an app says first, read before its connection is announced to the peer: then both travel together.
#pragma once
#include <cstddef>
#include <vector>

#include <culvert/base/socket.hpp>

namespace culvert::proxy {

// At most 16 KiB of what the app says within a moment (100 us): an app that lets the other side speak first pays no
// more. Empty: it has said nothing, or its end or an error is there to be read.
base::Task<std::vector<std::byte>> first_bytes(base::Socket& app);

}
