// SPDX-License-Identifier: Apache-2.0
#include <culvert/xds/store.hpp>

namespace culvert::xds {

using namespace state;

namespace {

std::optional<NamespacedHostname> service_in(const std::string& name) {
    std::size_t slash = name.find('/');
    if (slash == name.npos) return std::nullopt;
    return NamespacedHostname{name.substr(0, slash), name.substr(slash + 1)};
}

}

// Services that change are copied once, changed in the copy, and put back at the end.
class Store::Edit {
public:
    explicit Edit(Store& store) : store_{store} {}
    ~Edit() {
        for (auto& [key, service] : copies_) store_.services_.insert_or_assign(key, std::move(service));
    }
    Edit(const Edit&) = delete;
    Edit& operator=(const Edit&) = delete;

    void put(Workload fresh) {
        if (auto key = service_in(fresh.uid)) remove_service(*key);  // a name is one thing
        WorkloadPtr& held = store_.workloads_[fresh.uid];
        if (held) leave_services(*held);
        held = std::make_shared<const Workload>(std::move(fresh));
        for (const auto& [key, ports] : held->services) {
            endpoints_of(key).insert_or_assign(held->uid, endpoint_of(*held, ports));
        }
    }

    // Keeps the endpoints that it has, and those that waited for it.
    void put(Service fresh) {
        const NamespacedHostname key = fresh.key();
        remove_workload(key.to_string());
        if (Service* held = copy_of(key)) {
            fresh.endpoints = std::move(held->endpoints);
        } else if (auto waiting = store_.aside_.extract(key)) {
            fresh.endpoints = std::move(waiting.mapped());
        }
        copies_.insert_or_assign(key, std::make_shared<Service>(std::move(fresh)));
    }

    void put(policy::Policy fresh) {
        std::string key = fresh.key();
        store_.policies_.insert_or_assign(std::move(key), std::move(fresh));
    }

    void remove(Kind kind, const std::string& name) {
        if (kind == Kind::authorization)
            store_.policies_.erase(name);
        else if (auto key = service_in(name); !remove_workload(name) && key)
            remove_service(*key);
    }

private:
    Service* copy_of(const NamespacedHostname& key) {
        if (auto copy = copies_.find(key); copy != copies_.end()) return copy->second.get();
        auto held = store_.services_.find(key);
        if (held == store_.services_.end()) return nullptr;
        return copies_.emplace(key, std::make_shared<Service>(*held->second)).first->second.get();
    }

    Endpoints& endpoints_of(const NamespacedHostname& key) {
        Service* service = copy_of(key);
        return service ? service->endpoints : store_.aside_[key];
    }

    void leave_services(const Workload& workload) {
        for (const auto& [key, ports] : workload.services) {
            Endpoints& endpoints = endpoints_of(key);
            endpoints.erase(workload.uid);
            if (endpoints.empty()) store_.aside_.erase(key);
        }
    }

    bool remove_workload(const std::string& uid) {
        auto workload = store_.workloads_.find(uid);
        if (workload == store_.workloads_.end()) return false;
        leave_services(*workload->second);
        store_.workloads_.erase(workload);
        return true;
    }

    void remove_service(const NamespacedHostname& key) {
        Service* service = copy_of(key);
        if (!service) return;
        Endpoints endpoints = std::move(service->endpoints);
        if (!endpoints.empty()) store_.aside_.insert_or_assign(key, std::move(endpoints));
        copies_.erase(key);
        store_.services_.erase(key);
    }

    Store& store_;
    std::map<NamespacedHostname, std::shared_ptr<Service>> copies_;
};

void Store::take(Kind kind, std::vector<Resource> changed, const std::vector<std::string>& removed) {
    Edit edit{*this};
    for (Resource& resource : changed) std::visit([&](auto& value) { edit.put(std::move(value)); }, resource);
    for (const std::string& name : removed) edit.remove(kind, name);
}

SnapshotPtr Store::mesh() const {
    std::vector<WorkloadPtr> workloads;
    workloads.reserve(workloads_.size());
    for (const auto& [uid, workload] : workloads_) workloads.push_back(workload);
    std::vector<ServicePtr> services;
    services.reserve(services_.size());
    for (const auto& [key, service] : services_) services.push_back(service);
    return Snapshot::sharing(std::move(workloads), std::move(services));
}

std::vector<policy::Policy> Store::policies() const {
    std::vector<policy::Policy> all;
    all.reserve(policies_.size());
    for (const auto& [key, policy] : policies_) all.push_back(policy);
    return all;
}

}
