// SPDX-License-Identifier: Apache-2.0
#include "balance.hpp"

#include <algorithm>

namespace culvert::state {
namespace {

// Only ports that the service has; of those the endpoint's own target, then the service's. 0: no such port here.
std::uint16_t target_port(const Service& service, const Backend& backend, std::uint16_t port) {
    auto of_service = service.ports.find(port);
    if (of_service == service.ports.end()) return 0;
    auto of_endpoint = backend.ports.find(port);
    if (of_endpoint != backend.ports.end() && of_endpoint->second != 0) return of_endpoint->second;
    return of_service->second;
}

bool allows(IpFamilies families, const base::IpAddress& ip) {
    return families == IpFamilies::dual || (families == IpFamilies::ipv4) == ip.is_v4();
}

// The address that was asked for if the workload holds it, else one of that family, else any that the service allows.
const base::IpAddress* target_ip(const Service& service, const Workload& workload, const base::IpAddress& asked) {
    if (auto same = std::ranges::find(workload.ips, asked); same != workload.ips.end()) return &*same;
    const base::IpAddress* any = nullptr;
    for (const base::IpAddress& ip : workload.ips) {
        if (!allows(service.ip_families, ip)) continue;
        if (ip.is_v4() == asked.is_v4()) return &ip;
        if (!any) any = &ip;
    }
    return any;
}

// One label each, not the ones above it; two empty labels are alike.
bool alike(Scope scope, const Workload& a, const Workload& b) {
    switch (scope) {
        case Scope::region: return a.locality.region == b.locality.region;
        case Scope::zone: return a.locality.zone == b.locality.zone;
        case Scope::subzone: return a.locality.subzone == b.locality.subzone;
        case Scope::node: return a.node == b.node;
        case Scope::cluster: return a.cluster_id == b.cluster_id;
        case Scope::network: return a.network == b.network;
    }
    return false;
}

// How many preferences match before the first that does not.
std::size_t nearness(const LoadBalancer& balancer, const Workload& source, const Workload& endpoint) {
    if (balancer.mode == BalanceMode::standard) return 0;
    auto first_miss =
        std::ranges::find_if_not(balancer.preferences, [&](Scope scope) { return alike(scope, source, endpoint); });
    return static_cast<std::size_t>(first_miss - balancer.preferences.begin());
}

// Each that may be chosen of those seen so far; nearer() forgets them for one that is nearer.
template <class Nearer, class Candidate>
void walk(const Snapshot& mesh, const Service& service, const Workload& source, const base::SocketAddress& target,
          Nearer nearer, Candidate candidate) {
    const LoadBalancer& balancer = service.load_balancer;
    bool strict = balancer.mode == BalanceMode::strict;
    std::size_t nearest = strict ? balancer.preferences.size() : 0;
    for (const Backend& backend : mesh.backends(service)) {
        const Workload& workload = *backend.workload;
        // Another network is reached through its gateway, and none is known.
        if (workload.network != source.network) continue;
        std::uint16_t port = target_port(service, backend, target.port);
        const base::IpAddress* ip = target_ip(service, workload, target.ip);
        if (port == 0 || !ip || workload.capacity == 0) continue;

        std::size_t near = nearness(balancer, source, workload);
        if (near < nearest) continue;
        if (near > nearest) {
            nearest = near;
            nearer();
        }
        candidate(Choice{&backend, {*ip, port}});
    }
}

}

Choice choose_endpoint(const Snapshot& mesh, const Service& service, const Workload& source,
                       const base::SocketAddress& target, Random& random) {
    std::uint64_t weight = 0;  // of the candidates so far
    Choice chosen;
    auto nearer = [&] { weight = 0; };
    // One pass: each candidate replaces the choice so far with its share of the weight so far.
    walk(mesh, service, source, target, nearer, [&](const Choice& candidate) {
        std::uint64_t capacity = candidate.backend->workload->capacity;
        weight += capacity;
        std::uniform_int_distribution<std::uint64_t> ticket{0, weight - 1};
        if (ticket(random) < capacity) chosen = candidate;
    });
    return chosen;
}

std::vector<Choice> possible_endpoints(const Snapshot& mesh, const Service& service, const Workload& source,
                                       const base::SocketAddress& target) {
    std::vector<Choice> all;
    auto nearer = [&] { all.clear(); };
    walk(mesh, service, source, target, nearer, [&](const Choice& candidate) { all.push_back(candidate); });
    return all;
}

}
