// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include <culvert/base/result.hpp>

namespace culvert::grpc {

// Of tokens and roots: whole, and at most 1 MiB.
base::Result<std::string> read_file(const std::string& path);

}
