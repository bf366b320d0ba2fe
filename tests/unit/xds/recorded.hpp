// SPDX-License-Identifier: Apache-2.0
// What istiod and ztunnel said: recorded/NN-step/{request,response}-K.bin in order, dump.json the real ztunnel's state
// after that step. Steps before 90 are one stream.
#pragma once
#include <string>
#include <vector>

#include "discovery.pb.h"

namespace recorded {

using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
using Response = envoy::service::discovery::v3::DeltaDiscoveryResponse;

struct Step {
    std::string name;
    std::vector<Request> requests;
    std::vector<std::string> responses;  // bytes
    std::string dump;                    // empty where nobody asked
};

Step step(const std::string& name);
std::vector<Step> steps_before(const std::string& name);
std::string file(const std::string& path);  // under recorded/

Request request(const std::string& bytes);
Response response(const std::string& bytes);
std::string bytes_of(const Response& response);

// What istiod would make of it, for people and for comparing: names and versions in order.
std::string meaning(Request request);

}
