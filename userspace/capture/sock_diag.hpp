// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <culvert/base/result.hpp>

namespace culvert::capture {

// Ends the TCP sockets of the calling thread's namespace that are still connecting, and says how many. They have sent
// their SYN past us; a retransmission would meet the guard and hang.
base::Result<int> end_connecting_sockets();

}
