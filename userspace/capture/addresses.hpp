// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "netlink.hpp"
#include "programs.hpp"

namespace culvert::capture {

// An app may give itself whatever address. So a pod has what it comes with, and later only what is no other pod's.
enum class Claim { as_new, the_rest };

// Of more than so many the programs know the first; connections to the rest are dropped.
constexpr std::size_t addresses_per_pod = 64;

// Makes cv_own_ips and cv_pod_ips say of this pod what its interfaces say now. An empty list forgets the pod.
void publish_addresses(const Programs& node, std::uint64_t netns_cookie, const std::vector<InterfaceAddress>& now,
                       Claim claim = Claim::the_rest);

}
