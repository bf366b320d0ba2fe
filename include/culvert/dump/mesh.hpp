// SPDX-License-Identifier: Apache-2.0
// The mesh in the shape of ztunnel's config_dump, which istioctl reads: its keys, its words, and what it leaves out. A
// test compares with what the real one said after every step of a real istiod.
#pragma once
#include <boost/json/value.hpp>

#include <vector>

#include <culvert/policy/policy.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::dump {

// As it is held, or as a static file has it: there a workload says its ports of each service, and no service has
// endpoints of its own.
enum class As { held, configured };

// In order of uid, host name and namespace, so that two dumps of the same mesh are the same text.
boost::json::array workloads(const state::Snapshot& mesh, As as = As::held);
boost::json::array services(const state::Snapshot& mesh, As as = As::held);
boost::json::array policies(const std::vector<const policy::Policy*>& policies);

boost::json::object endpoints(const std::map<std::string, state::Endpoint>& endpoints);

// Indented by two, keys in order: as ztunnel prints it, and as people compare it.
std::string pretty(const boost::json::value& value);

}
