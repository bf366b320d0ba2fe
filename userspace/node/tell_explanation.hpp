// SPDX-License-Identifier: Apache-2.0
// What culvertctl explain shows.
#pragma once
#include <boost/json/value.hpp>

#include <culvert/admin/query.hpp>
#include <culvert/control/config.hpp>
#include <culvert/policy/set.hpp>

#include "pods.hpp"

namespace culvert::node {

base::Result<boost::json::value> tell_explanation(const control::Config& config, const Pods& pods,
                                                  const state::Snapshot& mesh, const policy::Set& policies,
                                                  const admin::Query& query);

}
