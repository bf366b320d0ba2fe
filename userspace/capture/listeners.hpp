// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/capture/capture.hpp>

namespace culvert::capture {

// One listener per arrival, family and worker in the calling thread's namespace.
base::Result<std::vector<Listener>> open_listeners(unsigned workers);

// Sets on the listeners what the connections accepted from them shall have: the kernel lets those inherit it, which
// saves as many syscalls for each.
base::Result<> bequeath(const std::vector<Listener>& listeners, const base::KeepAlive& keepalive);

}
