// SPDX-License-Identifier: Apache-2.0
// The source's side of an explanation: who takes the connection.
#pragma once
#include <culvert/explain/explain.hpp>
#include <culvert/explain/names.hpp>

namespace culvert::explain {

struct Capture {
    std::optional<bool> taken;  // nothing: nobody here can say
    std::string why;
    std::string refused = {};   // why it ends there; taken
    std::string answered = {};  // by whom, as a question to a nameserver; taken
    bool within = false;        // it does not leave the pod, and meets nobody; not taken
};

// Before it is known where it would lead.
Capture capture(const Node& node, const Party& source, const base::SocketAddress& target);

bool is_the_nodes(const Node& node, const base::IpAddress& ip);
// Of this node or another: nothing of it is captured.
bool is_node_proxy(const Node& node, const state::Workload& workload);

}
