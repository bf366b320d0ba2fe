// SPDX-License-Identifier: Apache-2.0
// One form for our state and for the real ztunnel's config_dump: JSON objects by key, every field said. Endpoints are
// those that load balancing may choose.
#pragma once
#include <boost/json.hpp>

#include <culvert/xds/store.hpp>

namespace mesh_form {

boost::json::object of(const culvert::xds::Store& store);
boost::json::object of_dump(const std::string& config_dump);

struct Difference {
    std::string path;  // "services/ns/host/ipFamilies"
    std::string ours, theirs;
};
std::vector<Difference> compare(const boost::json::value& ours, const boost::json::value& theirs);

}
