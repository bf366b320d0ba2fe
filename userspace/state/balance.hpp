// SPDX-License-Identifier: Apache-2.0
// Which endpoint of a service a connection goes to.
#pragma once
#include <culvert/state/route.hpp>

namespace culvert::state {

struct Choice {
    const Backend* backend = nullptr;  // null: nobody can take this connection
    base::SocketAddress target;
};

// At random, by capacity.
Choice choose_endpoint(const Snapshot& mesh, const Service& service, const Workload& source,
                       const base::SocketAddress& target, Random& random);
// Those that it chooses from.
std::vector<Choice> possible_endpoints(const Snapshot& mesh, const Service& service, const Workload& source,
                                       const base::SocketAddress& target);

}
