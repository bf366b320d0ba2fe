// SPDX-License-Identifier: Apache-2.0
// The whole mesh at one moment, immutable. A connection decides everything against one snapshot.
#pragma once
#include <memory>
#include <unordered_map>

#include <culvert/state/workload.hpp>

namespace culvert::state {

class Snapshot {
public:
    // Takes both lists whole; endpoints named by workloads are merged into their services.
    Snapshot(std::vector<Workload> workloads, std::vector<Service> services);

    WorkloadPtr workload_by_uid(const std::string& uid) const;
    // The best of those that hold the address: a pod before others, HBONE before TCP. Never a host-network workload
    // (ztunnel: calls to node addresses are passthrough).
    WorkloadPtr workload_by_ip(const std::string& network, const base::IpAddress& ip) const;
    // The service behind an exact VIP as a client in that namespace sees it: its own namespace's first, then a
    // canonical one, then the first.
    ServicePtr service_by_vip(const std::string& network, const base::IpAddress& vip,
                              const std::string& client_namespace) const;

    const std::vector<WorkloadPtr>& workloads() const noexcept { return workloads_; }
    const std::vector<ServicePtr>& services() const noexcept { return services_; }

private:
    struct AddressHash {
        std::size_t operator()(const NetworkAddress& a) const noexcept;
    };
    std::vector<WorkloadPtr> workloads_;
    std::vector<ServicePtr> services_;
    std::unordered_map<std::string, WorkloadPtr> by_uid_;
    std::unordered_map<NetworkAddress, WorkloadPtr, AddressHash> by_ip_;
    std::unordered_map<NetworkAddress, std::vector<ServicePtr>, AddressHash> by_vip_;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}
