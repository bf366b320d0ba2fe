// SPDX-License-Identifier: Apache-2.0
// The head of a call.
#pragma once
#include <string>
#include <vector>

#include <culvert/grpc/target.hpp>

namespace culvert::grpc {

struct Header {
    std::string name;
    std::string value;
    bool secret = false;  // kept out of HPACK's tables
};

// Reads the token. `deadline` of 0: none.
base::Result<std::vector<Header>> request_head(const Target& target, const Endpoint& endpoint,
                                               const std::string& method, std::chrono::milliseconds deadline);

}
