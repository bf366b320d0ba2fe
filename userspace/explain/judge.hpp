// SPDX-License-Identifier: Apache-2.0
// The destination's side of an explanation: whether it takes the connection, and who says so.
#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <culvert/explain/explain.hpp>
#include <culvert/state/route.hpp>

namespace culvert::explain {

struct Caller {
    std::optional<base::IpAddress> ip;  // as the destination sees it; nothing: none of that family
    const state::Identity* identity;    // null: it comes in plaintext
    bool known;                         // to the mesh
    bool within;                        // the destination's own pod
};

struct Judgement {
    std::string by;               // "this node", "its own node", "nobody"
    std::optional<bool> allowed;  // nothing: nobody here can say
    std::string why;
    boost::json::object details = {};
    boost::json::array notes = {};  // what else there is to know
};

Judgement judge(const Node& node, const Caller& caller, const state::Route& route);

}
