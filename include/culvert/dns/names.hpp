// SPDX-License-Identifier: Apache-2.0
// What a client's question comes to: the addresses of a service or a pod of the mesh, or nothing that the mesh knows.
// Pure; ztunnel's order, and beyond it names of headless services' pods:
//
//   names to try   as asked; completed as Kubernetes would; without a search domain, and that completed
//   of each        itself, then *.rest, the nearest first; then a pod of a headless service
//   of services    those that have VIPs, or are of the cluster itself; not those that hide from the client
//   the best       the client's namespace's, a canonical one, the preferred namespace's, the first
#pragma once
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <culvert/dns/message.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::dns {

using Random = std::minstd_rand;

struct NameSettings {
    std::string cluster_domain = "cluster.local";
    std::string preferred_namespace;  // empty: none
    bool ipv6 = true;                 // else AAAA is answered with nothing
};

// Of one snapshot, which it keeps. Immutable.
class Names {
public:
    Names(state::SnapshotPtr mesh, NameSettings settings);

    // Nothing: the mesh knows no such name. No addresses: it does, but none of that type that the client can reach.
    std::optional<Answer> find(const state::Workload& client, std::string_view name, std::uint16_t type,
                               Random& random) const;
    const state::Snapshot& mesh() const noexcept { return *mesh_; }

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    };
    using ByName = std::unordered_map<std::string, std::vector<const state::Service*>, Hash, std::equal_to<>>;

    const state::Service* best(const ByName& index, std::string_view name, const state::Workload& client) const;
    const state::Service* find_service(std::string_view name, const state::Workload& client) const;
    const state::Workload* find_pod(std::string_view name, const state::Workload& client) const;
    std::vector<base::IpAddress> addresses_of(const state::Service& service, const state::Workload& client,
                                              std::uint16_t type) const;

    state::SnapshotPtr mesh_;
    NameSettings settings_;
    std::string service_suffix_;  // ".svc.cluster.local"
    ByName services_;             // by host name, in lower case
    ByName wildcards_;            // by what follows "*."
};

}
