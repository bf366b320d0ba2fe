// SPDX-License-Identifier: Apache-2.0
// The whole mesh at one moment, immutable. A connection decides everything against one snapshot.
#pragma once
#include <memory>
#include <span>
#include <unordered_map>

#include <culvert/state/workload.hpp>

namespace culvert::state {

// An endpoint that load balancing may choose, its workload looked up once.
struct Backend {
    WorkloadPtr workload;
    PortMap ports;  // the endpoint's own; a port that it lacks has the service's target
};

// A service that a workload stands behind, in whatever health, and the workload's own ports of it.
struct Served {
    ServicePtr service;
    const PortMap* ports;  // the service's
};

// What one look at the mesh says of a workload.
struct Known {
    WorkloadPtr workload;
    std::vector<Served> services;  // in the mesh's order: by namespace and name under a control plane

    // Which of them a connection to this port of the workload was for: the one whose host the client named, or else the
    // first that has it as a target. A guess, ztunnel's (guess_inbound_service): to be told, not to decide by.
    ServicePtr service_at(std::uint16_t port, std::string_view host = {}) const;
};

class Snapshot {
public:
    // Takes both lists whole; endpoints named by workloads are merged into their services.
    Snapshot(std::vector<Workload> workloads, std::vector<Service> services);
    // The same for services that have their workloads' endpoints already; shares both.
    static std::shared_ptr<const Snapshot> sharing(std::vector<WorkloadPtr> workloads,
                                                   std::vector<ServicePtr> services);

    WorkloadPtr workload_by_uid(const std::string& uid) const;
    const Known* known(const std::string& uid) const;  // null: nobody; lives as long as the snapshot
    // The best of those that hold the address: a pod before others, HBONE before TCP. Never a host-network workload
    // (ztunnel: calls to node addresses are passthrough).
    WorkloadPtr workload_by_ip(const std::string& network, const base::IpAddress& ip) const;
    // The service behind a VIP as a client in that namespace sees it. Exact VIPs first: its own namespace's, then a
    // canonical one, then the first. Then ranges: its own namespace's, then the longest prefix, then a canonical one.
    ServicePtr service_by_vip(const std::string& network, const base::IpAddress& vip,
                              const std::string& client_namespace) const;
    // Endpoints of one of services(): workload known, healthy unless the service allows all.
    std::span<const Backend> backends(const Service& service) const;

    const std::vector<WorkloadPtr>& workloads() const noexcept { return workloads_; }
    const std::vector<ServicePtr>& services() const noexcept { return services_; }

private:
    Snapshot() = default;
    struct AddressHash {
        std::size_t operator()(const NetworkAddress& a) const noexcept;
    };
    void index_workloads();
    void index_services();

    std::vector<WorkloadPtr> workloads_;
    std::vector<ServicePtr> services_;
    std::unordered_map<std::string, Known> by_uid_;
    std::unordered_map<NetworkAddress, WorkloadPtr, AddressHash> by_ip_;
    std::unordered_map<NetworkAddress, std::vector<ServicePtr>, AddressHash> by_vip_;
    std::vector<std::pair<NetworkCidr, ServicePtr>> by_cidr_;  // searched one by one: there are few, if any
    std::unordered_map<const Service*, std::vector<Backend>> backends_;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}
