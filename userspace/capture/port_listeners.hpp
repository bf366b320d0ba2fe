// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include <culvert/capture/capture.hpp>

namespace culvert::capture {

// Opens the listeners that the rules redirect to, in the calling thread's network namespace: one socket per arrival and
// family on every address, shared by the workers. Never SO_REUSEPORT: an app of uid 0 could join the group.
base::Result<std::vector<Listener>> open_port_listeners(unsigned workers, bool ipv6);

}
