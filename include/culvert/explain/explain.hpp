// SPDX-License-Identifier: Apache-2.0
// What would become of a TCP connection: it asks the very functions that the data path asks, and says what they answer.
#pragma once
#include <boost/json/value.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/policy/set.hpp>
#include <culvert/state/exclusions.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::explain {

// Of this node.
struct PodHere {
    enum class Is {
        in_the_mesh,
        leaving,  // its new connections pass the mesh by
        closed,   // leaves to join again at once: until then they are refused
        waiting,  // could not join yet; an earlier daemon, or rules of Istio's CNI, may have closed it
    };
    Is is = Is::in_the_mesh;
    std::string state = "in the mesh";  // for people
    state::Exclusions exclude;
    std::string name = {};            // "namespace/name"
    bool by_rules = false;            // rules of Istio's CNI in it bring what comes to it
    bool dns = false;                 // its questions to nameservers are answered by this node
    bool virtual_interfaces = false;  // what comes by them is captured, whatever it excludes
    bool certified = true;            // has a certificate
};

// The daemon's own pod: nothing of it is captured, and tunnels to it lead to one port.
struct OwnPod {
    std::string uid;
    std::uint16_t port = 0;
    std::string closed = {};  // why nobody takes tunnels to it; empty: somebody does
};

struct Node {
    const state::Snapshot& mesh;
    const policy::Set& policies;
    std::string name, network;
    std::map<std::string, PodHere> pods = {};  // by uid
    std::optional<OwnPod> own = {};
    // Of the node itself, whose processes are let through to pods, as probes. Nothing: nobody can see them from here.
    std::optional<std::vector<base::IpAddress>> ips = {};
    bool by_iptables = false;  // capture: iptables
    bool ipv6 = true;
    bool on_demand = false;  // a control plane tells of addresses on demand only
    bool ending = false;     // new connections are refused
};

struct Question {
    std::string source, destination;  // as a person names them
    std::uint16_t port = 0;
};

// Fails in words for people: whom nobody knows.
//
//   source, destination  who they are
//   captured, why        whether the proxy of the source's node takes the connection; null: nobody here can say
//   error                why it leads nowhere, or null
//   unknown              why nobody here can say where it leads, or null
//   answered             that it is a question which the node answers itself, or null
//   endpoints            everyone who may get it: the way there, who decides about it, and how; notes about it
//   allowed              by all of them; null when nobody here can say
base::Result<boost::json::value> explain(const Node& node, const Question& question);

}
