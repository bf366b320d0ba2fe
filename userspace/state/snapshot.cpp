// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/snapshot.hpp>

#include <algorithm>
#include <functional>
#include <tuple>

namespace culvert::state {
namespace {

int address_rank(const Workload& workload) {
    bool is_pod = workload.uid.find("//Pod/") != std::string::npos;
    return (is_pod ? 2 : 0) + (workload.protocol == Protocol::hbone ? 1 : 0);
}

bool sees(const std::string& client_namespace, const Service& service) {
    return !service.visible_only_in_namespace || service.namespace_ == client_namespace;
}

bool may_serve(const Service& service, const Endpoint& endpoint, const Workload& workload) {
    if (service.load_balancer.health_policy == HealthPolicy::allow_all) return true;
    return endpoint.status == Health::healthy && workload.status == Health::healthy;
}

// What a workload says of itself replaces what the service says of it.
void merge_endpoints(const std::vector<Workload>& workloads, std::vector<Service>& services) {
    std::map<NamespacedHostname, Service*> by_key;
    for (Service& service : services) by_key.emplace(service.key(), &service);
    for (const Workload& workload : workloads)
        for (const auto& [key, ports] : workload.services)
            if (auto found = by_key.find(key); found != by_key.end())
                found->second->endpoints.insert_or_assign(workload.uid, endpoint_of(workload, ports));
}

template <class T>
std::vector<std::shared_ptr<const T>> shared(std::vector<T> values) {
    std::vector<std::shared_ptr<const T>> pointers;
    pointers.reserve(values.size());
    for (T& value : values) pointers.push_back(std::make_shared<const T>(std::move(value)));
    return pointers;
}

}

ServicePtr Known::service_at(std::uint16_t port, std::string_view host) const {
    auto lead_here = [port](const PortMap& ports) {
        return std::ranges::any_of(ports, [port](const auto& each) { return each.second == port; });
    };
    const ServicePtr* first = nullptr;
    for (const Served& served : services) {
        if (!host.empty() && served.service->hostname == host) return served.service;
        if (!first && (lead_here(served.service->ports) || lead_here(*served.ports))) first = &served.service;
    }
    return first ? *first : nullptr;
}

std::size_t Snapshot::AddressHash::operator()(const NetworkAddress& a) const noexcept {
    return base::IpHash{}(a.ip) ^ std::hash<std::string>{}(a.network);
}

Snapshot::Snapshot(std::vector<Workload> workloads, std::vector<Service> services) {
    merge_endpoints(workloads, services);
    workloads_ = shared(std::move(workloads));
    services_ = shared(std::move(services));
    index_workloads();
    index_services();
}

std::shared_ptr<const Snapshot> Snapshot::sharing(std::vector<WorkloadPtr> workloads,
                                                  std::vector<ServicePtr> services) {
    std::shared_ptr<Snapshot> mesh{new Snapshot};
    mesh->workloads_ = std::move(workloads);
    mesh->services_ = std::move(services);
    mesh->index_workloads();
    mesh->index_services();
    return mesh;
}

void Snapshot::index_workloads() {
    for (const WorkloadPtr& workload : workloads_) {
        by_uid_.insert_or_assign(workload->uid, Known{workload, {}});
        if (workload->network_mode == NetworkMode::host_network) continue;
        for (const base::IpAddress& ip : workload->ips) {
            WorkloadPtr& holder = by_ip_[{workload->network, ip}];
            if (!holder || address_rank(*workload) > address_rank(*holder)) holder = workload;
        }
    }
}

void Snapshot::index_services() {
    for (const ServicePtr& service : services_) {
        for (const NetworkAddress& vip : service->vips) by_vip_[vip].push_back(service);
        for (const NetworkCidr& range : service->cidr_vips) by_cidr_.emplace_back(range, service);
        std::vector<Backend>& backends = backends_[service.get()];
        for (const auto& [uid, endpoint] : service->endpoints) {
            auto found = by_uid_.find(endpoint.workload_uid);
            if (found == by_uid_.end()) continue;
            Known& known = found->second;
            known.services.push_back({service, &endpoint.ports});
            if (may_serve(*service, endpoint, *known.workload)) backends.push_back({known.workload, endpoint.ports});
        }
    }
}

const Known* Snapshot::known(const std::string& uid) const {
    auto found = by_uid_.find(uid);
    return found == by_uid_.end() ? nullptr : &found->second;
}

WorkloadPtr Snapshot::workload_by_uid(const std::string& uid) const {
    const Known* found = known(uid);
    return found ? found->workload : nullptr;
}

WorkloadPtr Snapshot::workload_by_ip(const std::string& network, const base::IpAddress& ip) const {
    auto found = by_ip_.find({network, ip});
    return found == by_ip_.end() ? nullptr : found->second;
}

ServicePtr Snapshot::service_by_vip(const std::string& network, const base::IpAddress& vip,
                                    const std::string& client_namespace) const {
    ServicePtr best;
    if (auto found = by_vip_.find({network, vip}); found != by_vip_.end()) {
        auto rank = [&](const Service& s) { return std::tuple{s.namespace_ == client_namespace, s.canonical}; };
        for (const ServicePtr& service : found->second)
            if (sees(client_namespace, *service) && (!best || rank(*service) > rank(*best))) best = service;
    }
    if (best) return best;

    auto rank = [&](const Service& s, const Cidr& cidr) {
        return std::tuple{s.namespace_ == client_namespace, cidr.prefix_length, s.canonical};
    };
    const Cidr* best_range = nullptr;
    for (const auto& [range, service] : by_cidr_) {
        if (range.network != network || !range.cidr.contains(vip) || !sees(client_namespace, *service)) continue;
        if (best && rank(*service, range.cidr) <= rank(*best, *best_range)) continue;
        best = service;
        best_range = &range.cidr;
    }
    return best;
}

std::span<const Backend> Snapshot::backends(const Service& service) const {
    auto found = backends_.find(&service);
    if (found == backends_.end()) return {};
    return found->second;
}

}
