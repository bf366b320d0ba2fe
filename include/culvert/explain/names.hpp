// SPDX-License-Identifier: Apache-2.0
// Whom a person means.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::explain {

// An end of a call. Neither workload nor service: somebody whom the mesh does not know.
struct Party {
    state::WorkloadPtr workload;
    state::ServicePtr service;
    std::vector<base::IpAddress> ips;  // the one that was named, or all that the name stands for
};

// By uid, namespace/name, name or address. Fails in words that name what is nearest to it.
base::Result<Party> find_source(const state::Snapshot& mesh, const std::string& network, const std::string& text);
// A service as well: its hostname, namespace/hostname, namespace/name, name or address. Workloads first.
base::Result<Party> find_destination(const state::Snapshot& mesh, const std::string& network, const std::string& text);

// Of both ends, in one family: the source's first address that the destination has a counterpart for. Without `ipv6`
// IPv4 goes first.
struct Addresses {
    base::IpAddress source, destination;
};
std::optional<Addresses> common_family(const Party& source, const Party& destination, bool ipv6 = true);

// "; did you mean shop/web or shop/web-2?", or nothing when no name resembles it.
std::string did_you_mean(const std::string& text, const std::vector<std::string>& known);

}
