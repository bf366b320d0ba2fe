// SPDX-License-Identifier: Apache-2.0
// What culvertctl policies shows.
#pragma once
#include <boost/json/value.hpp>

#include "mesh.hpp"
#include "metrics.hpp"

namespace culvert::node {

boost::json::value tell_policies(const Reloads& reloads, const Mesh& mesh);

}
