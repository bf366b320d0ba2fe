// SPDX-License-Identifier: Apache-2.0
// Everything that this node knows, in the shape of ztunnel's config_dump, for istioctl and for bug reports. No key and
// no token is in it: headers for the control plane are named, their values are not told.
#pragma once
#include <boost/json/value.hpp>

#include <functional>

#include <culvert/control/environment.hpp>
#include <culvert/proxy/live.hpp>

#include "inspect.hpp"

namespace culvert::node {

struct Dumped {
    Inspected node;
    const control::ClusterSettings* cluster = nullptr;  // null: the node of a file
};

// Asks the workers for what lives; called back on the control thread.
void dump_config(const Dumped& dumped, std::function<void(boost::json::value)> done);

// The part about settings: ztunnel's names for what both have, and "culvert" for what it has not.
boost::json::object dump_settings(const control::Config& config, const control::ClusterSettings* cluster);

}
