// SPDX-License-Identifier: Apache-2.0
// The parts of the file's schema that have a file each.
#pragma once
#include <culvert/control/config.hpp>

#include "yaml.hpp"

namespace culvert::control {

// ztunnel's static form, unknown keys refused as there, and in a policy's matches too: what is not understood there
// would widen it. What this version does not do yet is read, then refused.
yaml::Reader workload(state::Workload& into);
yaml::Reader service(state::Service& into);
yaml::Reader policy(policy::Policy& into);

// A file that has been read, before its parts are compared.
struct Draft {
    Config config;
    state::Exclusions exclude;       // of all pods
    std::vector<yaml::Cursor> pods;  // where each stands
    std::vector<yaml::Cursor> workloads;
    std::vector<yaml::Cursor> services;
    std::vector<yaml::Cursor> policies;
};

// Gives workloads the node's trust domain and cluster where they have none (ztunnel leaves them empty, which makes
// spiffe:///ns/... of an identity), and pods the identities of their workloads.
// Every pod excludes what the node does, too.
// Refuses what two parts of the file say differently, or twice.
void bring_together(Draft& draft);

// Values that several parts share.
yaml::Reader exclude(state::Exclusions& into);
// `at`: where the pod says what it excludes.
void add_exclusions(state::Exclusions& pod, const state::Exclusions& node, const yaml::Cursor& at);
yaml::Reader ip_address(base::IpAddress& into);
yaml::Reader cidr(state::Cidr& into);

}
