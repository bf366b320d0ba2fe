// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "netlink.hpp"
#include "programs.hpp"

namespace culvert::capture {

// Makes cv_own_ips and cv_pod_ips say of this pod what its interfaces say now. An empty list forgets the pod.
void publish_addresses(const Programs& node, std::uint64_t netns_cookie, const std::string& pod_name,
                       const std::vector<InterfaceAddress>& now);

}
