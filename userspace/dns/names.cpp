// SPDX-License-Identifier: Apache-2.0
#include <culvert/dns/names.hpp>

#include <algorithm>
#include <tuple>
#include <utility>

#include "aliases.hpp"

namespace culvert::dns {
namespace {

std::string in_lower_case(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    return text;
}

bool is_of_type(const base::IpAddress& ip, std::uint16_t type) {
    return ip.is_v4() == (type == type_a);
}

// Endpoints may have both families although their service has one.
bool gives(const state::Service& service, std::uint16_t type) {
    if (service.ip_families == state::IpFamilies::dual) return true;
    return (service.ip_families == state::IpFamilies::ipv4) == (type == type_a);
}

}

Names::Names(state::SnapshotPtr mesh, NameSettings settings)
    : mesh_{std::move(mesh)}, settings_{std::move(settings)}, service_suffix_{".svc." + settings_.cluster_domain} {
    for (const state::ServicePtr& service : mesh_->services()) {
        std::string name = in_lower_case(service->hostname);
        // Without VIPs a name of the outside world is for its own servers to answer.
        if (service->vips.empty() && !name.ends_with(service_suffix_)) continue;
        if (name.starts_with("*."))
            wildcards_[name.substr(2)].push_back(service.get());
        else
            services_[std::move(name)].push_back(service.get());
    }
}

const state::Service* Names::best(const ByName& index, std::string_view name, const state::Workload& client) const {
    auto found = index.find(name);
    if (found == index.end()) return nullptr;
    auto rank = [&](const state::Service& service) {
        return std::tuple{
            service.namespace_ == client.namespace_, service.canonical,
            !settings_.preferred_namespace.empty() && service.namespace_ == settings_.preferred_namespace};
    };
    const state::Service* best = nullptr;
    for (const state::Service* service : found->second) {
        if (service->visible_only_in_namespace && service->namespace_ != client.namespace_) continue;
        if (!best || rank(*service) > rank(*best)) best = service;
    }
    return best;
}

const state::Service* Names::find_service(std::string_view name, const state::Workload& client) const {
    if (const state::Service* service = best(services_, name, client)) return service;
    if (wildcards_.empty()) return nullptr;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
        if (const state::Service* service = best(wildcards_, name.substr(dot + 1), client)) return service;
    return nullptr;
}

// pod.service.ns.svc.cluster.local. Of clusters that have a pod of this name, the client's own.
const state::Workload* Names::find_pod(std::string_view name, const state::Workload& client) const {
    if (!name.ends_with(service_suffix_)) return nullptr;
    std::string_view rest = name.substr(0, name.size() - service_suffix_.size());
    std::size_t dot = rest.find('.');
    if (std::count(rest.begin(), rest.end(), '.') != 2) return nullptr;
    const state::Service* service = best(services_, name.substr(dot + 1), client);
    if (!service || !service->vips.empty()) return nullptr;
    const state::Workload* found = nullptr;
    for (const state::Backend& backend : mesh_->backends(*service)) {
        if (backend.workload->name != rest.substr(0, dot)) continue;
        if (backend.workload->cluster_id == client.cluster_id) return backend.workload.get();
        if (!found) found = backend.workload.get();
    }
    return found;
}

std::vector<base::IpAddress> Names::addresses_of(const state::Service& service, const state::Workload& client,
                                                 std::uint16_t type) const {
    std::vector<base::IpAddress> addresses;
    if (!gives(service, type)) return addresses;
    for (const state::NetworkAddress& vip : service.vips)
        if (vip.network == client.network && is_of_type(vip.ip, type)) addresses.push_back(vip.ip);
    if (!service.vips.empty()) return addresses;
    for (const state::Backend& backend : mesh_->backends(service)) {
        const auto& ips = backend.workload->ips;
        auto first = std::ranges::find_if(ips, [&](const auto& ip) { return is_of_type(ip, type); });
        if (first != ips.end()) addresses.push_back(*first);
    }
    return addresses;
}

std::optional<Answer> Names::find(const state::Workload& client, std::string_view name, std::uint16_t type,
                                  Random& random) const {
    for (const Alias& alias : aliases_of(name, client.namespace_, settings_.cluster_domain)) {
        Answer answer;
        if (const state::Service* service = find_service(alias.name, client)) {
            answer.addresses = addresses_of(*service, client, type);
            if (!service->hostname.starts_with("*.")) answer.canonical_labels = alias.stripped_to;
        } else if (const state::Workload* pod = find_pod(alias.name, client)) {
            for (const auto& ip : pod->ips)
                if (is_of_type(ip, type)) answer.addresses.push_back(ip);
            answer.canonical_labels = alias.stripped_to;
        } else {
            continue;
        }
        if (type == type_aaaa && !settings_.ipv6) answer.addresses.clear();
        std::shuffle(answer.addresses.begin(), answer.addresses.end(), random);
        return answer;
    }
    return {};
}

}
