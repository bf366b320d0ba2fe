// SPDX-License-Identifier: Apache-2.0
// The destination's side of an explanation.
#pragma once
#include <boost/json/value.hpp>

#include <culvert/explain/explain.hpp>
#include <culvert/state/route.hpp>

namespace culvert::explain {

struct Caller {
    base::IpAddress ip;
    const state::Identity* identity;  // null: it comes in plaintext
};

boost::json::value explain_endpoint(const Node& node, const Caller& caller, const state::Route& route);

std::string pod_name(const state::Workload& workload);

}
