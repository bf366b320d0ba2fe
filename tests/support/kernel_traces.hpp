// SPDX-License-Identifier: Apache-2.0
// What a daemon has put into the kernel, as people find it with bpftool, ip and tc.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "lab.hpp"
#include "node.hpp"

namespace culvert::test {

std::string pin_folder(const Node& node);

// "cv_sockops 17": the pinned links of a daemon's instance by name and id.
std::vector<std::string> pinned_links(const Node& node);
// What an instance keeps of daemons with another schema.
std::vector<std::string> left_over_pins(const Node& node);
// Which of those ids the kernel still has.
std::vector<std::string> living_links(const std::vector<std::string>& links);

// Rules, routes and programs of ours in a pod's netns, one a line; empty when there is no trace.
std::string left_in(const Pod& pod);

// A pinned map of the daemon's, as `bpftool map dump` prints it for people.
std::string dump_map(const Node& node, const std::string& map);

}
