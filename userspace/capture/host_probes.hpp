// SPDX-License-Identifier: Apache-2.0
// The node's side of kubelet probes, as istio-cni has it: a set of the pods' addresses, and one rule that gives what
// the node's own processes send to them a source address that the pods' rules let through.
//
// Lives on: the control thread. Owns: nothing; works in the node's namespace, which it borrows.
#pragma once
#include <string>
#include <vector>

#include <culvert/base/result.hpp>

#include "records.hpp"
#include "tables.hpp"

namespace culvert::capture {

class HostProbes {
public:
    HostProbes(const Tables& tables, int node, NetnsName name) : tables_{tables}, node_{node}, name_{name} {}

    // Fails when ipset is not here.
    static base::Result<> check();

    // Makes set and rule where they are missing.
    base::Result<> add(const std::vector<std::string>& addresses, const std::string& uid);
    // With the last address, a set that a culvertd made goes, and its rule.
    base::Result<> remove(const std::vector<std::string>& addresses);

private:
    base::Result<> add_here(int family, const std::vector<std::string>& addresses, const std::string& uid);
    base::Result<> remove_here(int family, const std::vector<std::string>& addresses);
    base::Result<> put_rule(int family);

    const Tables& tables_;
    int node_;
    NetnsName name_;
};

}
