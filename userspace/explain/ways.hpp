// SPDX-License-Identifier: Apache-2.0
// Where a connection leads.
#pragma once
#include <culvert/state/route.hpp>

#include "capture.hpp"

namespace culvert::explain {

struct Ways {
    base::Result<std::vector<state::Route>> routes = std::vector<state::Route>{};  // fails: nowhere, and why
    std::string unknown = {};  // why nobody here can say; there are no routes then
};

Ways find_ways(const Node& node, const Party& source, const Capture& capture, const base::SocketAddress& target);

// Of a source that the mesh does not know, what there is to know.
state::Workload caller_of(const Node& node, const Party& source);

}
