// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <culvert/base/result.hpp>

namespace culvert::capture {

// Ends the TCP connections of the calling thread's namespace whose handshake is not over, in both directions, and says
// how many. Their SYN went past us; what is sent again would meet the guard and hang.
base::Result<int> end_connecting_sockets();

}
