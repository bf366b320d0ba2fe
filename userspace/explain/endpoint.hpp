// SPDX-License-Identifier: Apache-2.0
// One of those who may get a connection, as it is told of.
#pragma once
#include <boost/json/object.hpp>

#include "judge.hpp"

namespace culvert::explain {

boost::json::object explain_endpoint(const Node& node, const Caller& caller, const state::Route& route);

std::string pod_name(const state::Workload& workload);

}
