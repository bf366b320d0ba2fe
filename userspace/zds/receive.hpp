// SPDX-License-Identifier: Apache-2.0
// One message of the agent's, with the descriptors that came with it.
#pragma once
#include <string>
#include <vector>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::zds {

struct Received {
    std::string message;  // empty: the other end is gone
    std::vector<base::Fd> descriptors;
    bool cut = false;  // there was more than one may send
};

// From a socket that has something to read.
base::Result<Received> receive(int socket);

}
