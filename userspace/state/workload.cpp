// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/workload.hpp>

namespace culvert::state {

std::string_view to_string(Protocol protocol) noexcept {
    return protocol == Protocol::hbone ? "HBONE" : "TCP";
}

std::string_view to_string(NetworkMode mode) noexcept {
    return mode == NetworkMode::host_network ? "HostNetwork" : "Standard";
}

std::string_view to_string(Health health) noexcept {
    return health == Health::unhealthy ? "Unhealthy" : "Healthy";
}

std::string_view to_string(IpFamilies families) noexcept {
    switch (families) {
        case IpFamilies::dual: return "Dual";
        case IpFamilies::ipv4: return "IPv4";
        case IpFamilies::ipv6: return "IPv6";
    }
    return "?";
}

std::string_view to_string(Scope scope) noexcept {
    switch (scope) {
        case Scope::region: return "Region";
        case Scope::zone: return "Zone";
        case Scope::subzone: return "Subzone";
        case Scope::node: return "Node";
        case Scope::cluster: return "Cluster";
        case Scope::network: return "Network";
    }
    return "?";
}

std::string_view to_string(BalanceMode mode) noexcept {
    switch (mode) {
        case BalanceMode::standard: return "Standard";
        case BalanceMode::strict: return "Strict";
        case BalanceMode::failover: return "Failover";
        case BalanceMode::passthrough: return "Passthrough";
    }
    return "?";
}

std::string_view to_string(HealthPolicy policy) noexcept {
    return policy == HealthPolicy::allow_all ? "AllowAll" : "OnlyHealthy";
}

std::string GatewayAddress::to_string() const {
    if (const auto* address = std::get_if<NetworkAddress>(&destination))
        return address->network + "/" + address->ip.to_string();
    return std::get<NamespacedHostname>(destination).to_string();
}

}
