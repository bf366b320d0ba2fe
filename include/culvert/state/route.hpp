// SPDX-License-Identifier: Apache-2.0
// Where an outbound connection goes: (target, source workload, snapshot) -> Route. Pure; ztunnel's order:
//
//   loopback and a port of ours       refused, or we would call ourselves for ever
//   a service's VIP                   an endpoint, chosen at random by capacity; none: refused
//   a workload's address              that workload, the port as asked
//   anything else                     passed through
//
// Who is behind a waypoint is refused, for its policies would be walked past; endpoints on other networks are skipped.
#pragma once
#include <cstdint>
#include <random>

#include <culvert/base/result.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::state {

enum class Via {
    hbone,        // CONNECT `target` through a tunnel to `next_hop`
    plain,        // plain TCP to a known workload that does not speak HBONE
    passthrough,  // nobody we know: plain TCP to the original target
};

struct Route {
    Via via = Via::passthrough;
    base::SocketAddress next_hop;  // what is dialled: podIP:15008, podIP:targetPort, or the original target
    base::SocketAddress target;    // podIP:targetPort, the CONNECT's authority; the original target for passthrough
    WorkloadPtr destination;       // null for passthrough
    ServicePtr service;            // the one that was addressed by VIP, or null
    std::vector<std::string> accepted_identities;  // for hbone: the destination's SPIFFE id, then the service's SANs
};

using Random = std::minstd_rand;  // of a worker; load balancing needs no more

// Fails with the text that the access log shows: "no healthy upstream: 10.1.0.1:80",
// "attempted recursive call to ourselves".
base::Result<Route> find_route(const Snapshot& mesh, const Workload& source, const base::SocketAddress& target,
                               Random& random);

// Every route that it may choose; several where a service has several endpoints. For people.
base::Result<std::vector<Route>> possible_routes(const Snapshot& mesh, const Workload& source,
                                                 const base::SocketAddress& target);

// Whether the mesh has somebody at the very address, as this workload sees it: of a service that has a range, somebody
// nearer may not have been told of yet.
bool is_told_of(const Snapshot& mesh, const Workload& source, const base::IpAddress& ip);

// Ports of the mesh's own that no call to loopback may name, and no inbound CONNECT may reach (ztunnel's
// illegal_ports).
bool is_mesh_port(std::uint16_t port) noexcept;  // 15001, 15006, 15008

}
