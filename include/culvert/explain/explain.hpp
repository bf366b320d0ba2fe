// SPDX-License-Identifier: Apache-2.0
// What would become of a connection: it asks the very functions that the data path asks, and says what they answer.
#pragma once
#include <boost/json/value.hpp>

#include <cstdint>
#include <map>
#include <string>

#include <culvert/base/result.hpp>
#include <culvert/policy/set.hpp>
#include <culvert/state/exclusions.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::explain {

// Of this node.
struct PodHere {
    bool in_the_mesh = true;
    std::string state = "in the mesh";
    state::Exclusions exclude;
};

struct Node {
    const state::Snapshot& mesh;
    const policy::Set& policies;
    std::string network;
    std::map<std::string, PodHere> pods;  // by uid
};

struct Question {
    std::string source, destination;  // as a person names them
    std::uint16_t port = 0;
};

// Fails in words for people: whom nobody knows.
//
//   source, destination  who they are
//   captured, why        whether the proxy of the source's node takes the connection
//   error                why it leads nowhere, or null
//   endpoints            everyone who may get it: the way there, who decides about it, and how
//   allowed              by all of them; null when nobody here can say
base::Result<boost::json::value> explain(const Node& node, const Question& question);

}
