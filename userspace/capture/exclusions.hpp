// SPDX-License-Identifier: Apache-2.0
// What a pod excludes, as the kernel programs read it.
#pragma once
#include <culvert/base/result.hpp>
#include <culvert/bpf/pod.h>
#include <culvert/state/cidr.hpp>
#include <culvert/state/exclusions.hpp>

namespace culvert::capture {

cv_range to_range(const state::Cidr& cidr);

// Fails, and leaves the row as it is, when a list is longer than the row's.
base::Result<> put_exclusions(cv_pod& row, const state::Exclusions& exclusions);

}
