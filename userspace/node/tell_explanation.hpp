// SPDX-License-Identifier: Apache-2.0
// What culvertctl explain shows.
#pragma once
#include <boost/json/value.hpp>

#include <culvert/admin/query.hpp>

#include "inspect.hpp"

namespace culvert::node {

base::Result<boost::json::value> tell_explanation(const Inspected& node, const admin::Query& query);

}
