// SPDX-License-Identifier: Apache-2.0
// What culvertctl policies shows.
#pragma once
#include <boost/json/value.hpp>

#include <culvert/control/config.hpp>
#include <culvert/policy/set.hpp>

#include "metrics.hpp"

namespace culvert::node {

boost::json::value tell_policies(const control::Config& config, const Reloads& reloads, const state::Snapshot& mesh,
                                 const policy::Set& policies);

}
