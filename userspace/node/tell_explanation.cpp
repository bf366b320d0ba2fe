// SPDX-License-Identifier: Apache-2.0
#include "tell_explanation.hpp"

#include <culvert/explain/explain.hpp>

namespace culvert::node {

base::Result<boost::json::value> tell_explanation(const control::Config& config, const Pods& pods,
                                                  const state::Snapshot& mesh, const policy::Set& policies,
                                                  const admin::Query& query) {
    const auto source = query.value("source"), destination = query.value("destination");
    const auto port = query.number("port");
    if (!source || !destination || !port || *port == 0 || *port > 65535)
        return base::problem("an explanation wants source=, destination= and port= from 1 to 65535");
    explain::Node node{mesh, policies, config.node.network, {}};
    for (const auto& [pod, state, why] : pods.view()) {
        const bool in_the_mesh = state == "in the mesh";
        node.pods[pod.uid] = {in_the_mesh, why.empty() ? state : state + " (" + why + ")", pod.exclude};
    }
    return explain::explain(node, {*source, *destination, static_cast<std::uint16_t>(*port)});
}

}
