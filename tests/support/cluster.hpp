// SPDX-License-Identifier: Apache-2.0
// What stands around the nodes of a cluster: istiod with its CA on node 1, and Istio's CNI agent on each node. All are
// processes of ours that speak as those do.
#pragma once
#include <map>
#include <memory>
#include <set>

#include "istio_cni.hpp"
#include "istiod.hpp"
#include "mesh.hpp"

namespace culvert::test {

class Cluster {
public:
    explicit Cluster(const Lab& lab);

    // Of a node's culvertd, as the DaemonSet sets them: NAME=VALUE. Of the settings: how long certificates live.
    std::vector<std::string> environment(int node, const DaemonSettings& settings) const;
    // Workloads and services go to istiod, enrolled pods to the agents of their nodes; those that are no longer leave.
    void tell(const Mesh& mesh);

    Istiod istiod;
    IstioCni& agent(int node) { return *agents_.at(node); }

private:
    const Lab& lab_;
    std::map<int, std::unique_ptr<IstioCni>> agents_;
    std::set<const Pod*> handed_over_;
};

// The tests' bodies are to run with nodes of a cluster, CULVERT_UNDER=istiod, rather than with files.
bool under_istiod();

}
