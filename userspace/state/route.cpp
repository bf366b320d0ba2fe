// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/route.hpp>

#include <algorithm>

#include "balance.hpp"

namespace culvert::state {
namespace {

constexpr std::uint16_t outbound_port = 15001;
constexpr std::uint16_t inbound_plain_port = 15006;
constexpr std::uint16_t hbone_port = 15008;

Route pass_through(const base::SocketAddress& target) {
    Route route;
    route.next_hop = route.target = target;
    return route;
}

Route route_to(WorkloadPtr destination, ServicePtr service, const base::SocketAddress& target) {
    Route route;
    route.target = route.next_hop = target;
    route.via = destination->protocol == Protocol::hbone ? Via::hbone : Via::plain;
    if (route.via == Via::hbone) {
        route.next_hop.port = hbone_port;
        route.accepted_identities.push_back(destination->identity().to_string());
        if (service)
            route.accepted_identities.insert(route.accepted_identities.end(), service->subject_alt_names.begin(),
                                             service->subject_alt_names.end());
    }
    route.destination = std::move(destination);
    route.service = std::move(service);
    return route;
}

// In ztunnel's words for one that it cannot find.
base::Error unknown_waypoint(const GatewayAddress& waypoint) {
    return base::problem("unknown waypoint: " + waypoint.to_string() + " (waypoints are not supported yet)");
}

}

bool is_told_of(const Snapshot& mesh, const Workload& source, const base::IpAddress& ip) {
    if (mesh.workload_by_ip(source.network, ip)) return true;
    const ServicePtr service = mesh.service_by_vip(source.network, ip, source.namespace_);
    return service && std::ranges::find(service->vips, NetworkAddress{source.network, ip}) != service->vips.end();
}

bool is_mesh_port(std::uint16_t port) noexcept {
    return port == outbound_port || port == inbound_plain_port || port == hbone_port;
}

base::Result<Route> find_route(const Snapshot& mesh, const Workload& source, const base::SocketAddress& target,
                               Random& random) {
    if (target.ip.is_loopback() && is_mesh_port(target.port))
        return base::problem("attempted recursive call to ourselves");

    if (ServicePtr service = mesh.service_by_vip(source.network, target.ip, source.namespace_)) {
        // Whatever its mode: a waypoint's policies must not be walked past.
        if (service->has_waypoint())
            return unknown_waypoint(service->waypoint ? *service->waypoint
                                                      : service->weighted_waypoints.front().waypoint);
        if (service->load_balancer.mode == BalanceMode::passthrough) return pass_through(target);
        Choice choice = choose_endpoint(mesh, *service, source, target, random);
        if (!choice.backend) return base::problem("no healthy upstream: " + target.to_string());
        return route_to(choice.backend->workload, std::move(service), choice.target);
    }

    if (WorkloadPtr workload = mesh.workload_by_ip(source.network, target.ip)) {
        if (workload->waypoint) return unknown_waypoint(*workload->waypoint);
        return route_to(std::move(workload), nullptr, target);
    }

    return pass_through(target);
}

base::Result<std::vector<Route>> possible_routes(const Snapshot& mesh, const Workload& source,
                                                 const base::SocketAddress& target) {
    Random random;
    auto one = find_route(mesh, source, target, random);
    if (!one) return one.error();
    std::vector<Route> all;
    if (ServicePtr service = one->service) {
        for (const Choice& choice : possible_endpoints(mesh, *service, source, target))
            all.push_back(route_to(choice.backend->workload, service, choice.target));
    } else {
        all.push_back(std::move(*one));
    }
    return all;
}

}
