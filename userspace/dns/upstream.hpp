// SPDX-License-Identifier: Apache-2.0
// Asks the nameservers what a pod has asked, in the pod's network namespace and by the transport that it chose: an
// answer that was cut by UDP makes the client come again by TCP, and then is asked for by TCP.
#pragma once
#include <culvert/base/task.hpp>

#include "context.hpp"

namespace culvert::dns {

using Netns = std::shared_ptr<const base::Fd>;

// The nameserver's own bytes, its id included. Fails when none answered in time, or none is there.
base::Task<base::Result<Bytes>> ask_by_udp(Context& context, Netns netns, Bytes request);
base::Task<base::Result<Bytes>> ask_by_tcp(Context& context, Netns netns, Bytes request);

}
