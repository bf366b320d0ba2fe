// SPDX-License-Identifier: Apache-2.0
// An instance's name and its folder: what both captures ask of them.
#pragma once
#include <string>

#include <culvert/base/result.hpp>

namespace culvert::capture {

// It becomes a folder's name; nodes have names such as ip-10-0-0-1.ec2.internal.
base::Result<> check_instance_name(const std::string& name);

// Whether the path still leads to the directory that is open here: a cleanup may have taken it away.
bool is_still(int directory, const std::string& path);

}
