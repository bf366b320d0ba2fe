// SPDX-License-Identifier: Apache-2.0
// What went wrong, and what to look at.
#pragma once
#include <string>

#include <culvert/grpc/status.hpp>
#include <culvert/grpc/target.hpp>

namespace culvert::xds {

std::string advice(const grpc::Status& status, const grpc::Target& istiod);

}
