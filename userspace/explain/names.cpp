// SPDX-License-Identifier: Apache-2.0
#include <culvert/explain/names.hpp>

#include <algorithm>
#include <numeric>

namespace culvert::explain {
namespace {

using base::problem;
using base::Result;

std::string name_of(const state::Workload& workload) {
    return workload.namespace_ + "/" + workload.name;
}

bool is_called(const state::Workload& workload, const std::string& text) {
    return workload.uid == text || workload.name == text || name_of(workload) == text;
}

bool is_called(const state::Service& service, const std::string& text) {
    return service.hostname == text || service.key().to_string() == text || service.name == text ||
           service.namespace_ + "/" + service.name == text;
}

std::string name_of(const state::Service& service) {
    return service.hostname;
}

template <class Pointer>
Result<Pointer> find(const std::vector<Pointer>& all, const std::string& text) {
    Pointer found;
    for (const Pointer& one : all) {
        if (!is_called(*one, text)) continue;
        if (found)
            return problem("several are called " + text + ", " + name_of(*found) + " and " + name_of(*one) +
                           " among them: say which by namespace/name, uid or address");
        found = one;
    }
    return found;
}

// How many letters must change, come or go.
std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
        }
    }
    return row[b.size()];
}

std::string last_part(const std::string& name) {
    return name.substr(name.rfind('/') + 1);
}

Result<Party> nobody(const std::string& text, std::string_view kinds, std::vector<std::string> known) {
    std::string near = did_you_mean(text, known);
    return problem("no " + std::string{kinds} + " is called " + text + (near.empty() ? "" : near));
}

std::vector<std::string> names(const state::Snapshot& mesh, bool services_too) {
    std::vector<std::string> all;
    for (const auto& workload : mesh.workloads()) all.push_back(name_of(*workload));
    if (services_too)
        for (const auto& service : mesh.services()) all.push_back(service->hostname);
    return all;
}

Result<Party> of_workload(state::WorkloadPtr workload) {
    if (workload->ips.empty()) return problem(name_of(*workload) + " has no address");
    auto ips = workload->ips;
    return Party{std::move(workload), nullptr, std::move(ips)};
}

Result<Party> of_service(state::ServicePtr service, const std::string& network) {
    Party party{nullptr, service, {}};
    for (const auto& vip : service->vips)
        if (vip.network == network) party.ips.push_back(vip.ip);
    if (party.ips.empty() && !service->cidr_vips.empty())
        return problem(service->hostname + " has ranges of addresses: name one of them");
    if (party.ips.empty())
        return problem(service->hostname + " has no address of its own here: name one of its workloads instead");
    return party;
}

}

Result<Party> find_source(const state::Snapshot& mesh, const std::string& network, const std::string& text) {
    if (auto ip = base::IpAddress::parse(text)) return Party{mesh.workload_by_ip(network, *ip), nullptr, {*ip}};
    auto workload = find(mesh.workloads(), text);
    if (!workload) return workload.error();
    if (*workload) return of_workload(*workload);
    return nobody(text, "workload", names(mesh, false));
}

Result<Party> find_destination(const state::Snapshot& mesh, const std::string& network, const std::string& text) {
    if (auto ip = base::IpAddress::parse(text)) return Party{mesh.workload_by_ip(network, *ip), nullptr, {*ip}};
    auto workload = find(mesh.workloads(), text);
    if (!workload) return workload.error();
    if (*workload) return of_workload(*workload);
    auto service = find(mesh.services(), text);
    if (!service) return service.error();
    if (*service) return of_service(*service, network);
    return nobody(text, "workload and no service", names(mesh, true));
}

std::optional<Addresses> common_family(const Party& source, const Party& destination, bool ipv6) {
    std::optional<Addresses> common;
    for (const auto& from : source.ips) {
        for (const auto& to : destination.ips) {
            if (from.is_v4() != to.is_v4()) continue;
            if (ipv6 || from.is_v4()) return Addresses{from, to};
            if (!common) common = Addresses{from, to};
        }
    }
    return common;
}

std::string did_you_mean(const std::string& text, const std::vector<std::string>& known) {
    constexpr std::size_t most = 3;
    const std::size_t few =
        text.size() < 4 ? 1 : std::max<std::size_t>(2, text.size() / 3);  // two letters swapped are 2
    std::vector<std::pair<std::size_t, std::string>> near;
    for (const std::string& name : known) {
        const bool whole = text.find('/') != std::string::npos;
        std::size_t changes = distance(text, whole ? name : last_part(name));
        if (whole) changes = std::min(changes, distance(last_part(text), last_part(name)));
        bool holds = !text.empty() && name.find(text) != std::string::npos;
        if (holds || changes <= few) near.emplace_back(changes, name);
    }
    std::sort(near.begin(), near.end());
    std::string said;
    for (std::size_t i = 0; i < near.size() && i < most; ++i) {
        const bool last = i + 1 == std::min(near.size(), most);
        said += (i == 0 ? "" : last ? " or " : ", ") + near[i].second;
    }
    return said.empty() ? "" : "; did you mean " + said + "?";
}

}
