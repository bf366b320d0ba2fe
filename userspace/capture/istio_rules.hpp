// SPDX-License-Identifier: Apache-2.0
// Rules that Istio's CNI has written into a pod: of iptables, in the nf_tables kind or the legacy one, or nftables'
// own. Asked of the kernel, as a node's image may have none of their programs.
#pragma once
#include <culvert/base/result.hpp>

namespace culvert::capture {

// In the network namespace that the calling thread is in.
base::Result<bool> finds_istio_rules();

}
