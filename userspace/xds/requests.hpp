// SPDX-License-Identifier: Apache-2.0
// What we say, as bytes.
#pragma once
#include <culvert/xds/conversation.hpp>

namespace culvert::xds {

// The first of a kind on a stream.
std::string first_request(const Node& node, Kind kind, Interest interest,
                          const std::map<std::string, std::string>& versions);
std::string acknowledge(const std::string& type, const std::string& nonce, const std::vector<Refusal>& refused);
std::string subscribe(const std::set<std::string>& names);
std::string unsubscribe(const std::string& name);

}
