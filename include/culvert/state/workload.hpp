// SPDX-License-Identifier: Apache-2.0
// Workloads and services as ztunnel's static YAML and config_dump know them. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/state/cidr.hpp>
#include <culvert/state/identity.hpp>

namespace culvert::state {

enum class Protocol { tcp, hbone };
enum class NetworkMode { standard, host_network };
enum class Health { healthy, unhealthy };
enum class IpFamilies { dual, ipv4, ipv6 };
// What a client and an endpoint may have in common; each scope compares its own label alone.
enum class Scope { region, zone, subzone, node, cluster, network };
enum class BalanceMode { standard, strict, failover, passthrough };
enum class HealthPolicy { only_healthy, allow_all };

std::string_view to_string(Protocol) noexcept;  // "TCP", "HBONE": as configured and dumped
std::string_view to_string(NetworkMode) noexcept;
std::string_view to_string(Health) noexcept;
std::string_view to_string(IpFamilies) noexcept;
std::string_view to_string(Scope) noexcept;
std::string_view to_string(BalanceMode) noexcept;
std::string_view to_string(HealthPolicy) noexcept;

struct NetworkAddress {
    std::string network;
    base::IpAddress ip;
    friend auto operator<=>(const NetworkAddress&, const NetworkAddress&) = default;
};

struct NetworkCidr {
    std::string network;
    Cidr cidr;
    friend bool operator==(const NetworkCidr&, const NetworkCidr&) = default;
};

struct NamespacedHostname {
    std::string namespace_;
    std::string hostname;
    std::string to_string() const { return namespace_ + "/" + hostname; }
    friend auto operator<=>(const NamespacedHostname&, const NamespacedHostname&) = default;
};

// A proxy that traffic goes through: a waypoint, or the gateway of another network.
struct GatewayAddress {
    std::variant<NetworkAddress, NamespacedHostname> destination;
    std::uint16_t hbone_port = 0;
    std::string to_string() const;  // "<network>/<ip>" or "<namespace>/<hostname>", as dumped
    friend bool operator==(const GatewayAddress&, const GatewayAddress&) = default;
};

struct WeightedWaypoint {
    GatewayAddress waypoint;
    std::uint32_t weight = 0;
    friend bool operator==(const WeightedWaypoint&, const WeightedWaypoint&) = default;
};

// How a tunnel's streams reach the app, where it is not by plain TCP to the port that was asked for.
struct ApplicationTunnel {
    bool proxy_protocol = false;
    std::uint16_t port = 0;  // 0: the port that was asked for
    friend bool operator==(const ApplicationTunnel&, const ApplicationTunnel&) = default;
};

struct Locality {
    std::string region, zone, subzone;
    friend bool operator==(const Locality&, const Locality&) = default;
};

// Service port -> target port; a target of 0 is a named port that each endpoint resolves itself.
using PortMap = std::map<std::uint16_t, std::uint16_t>;

struct Workload {
    std::string uid;
    std::string name;
    std::string namespace_;
    std::string trust_domain;
    std::string service_account;
    std::string network;
    std::string workload_name;
    std::string workload_type;
    std::string canonical_name;
    std::string canonical_revision;
    std::string hostname;
    std::string node;
    std::string cluster_id;
    std::vector<base::IpAddress> ips;
    Protocol protocol = Protocol::tcp;
    NetworkMode network_mode = NetworkMode::standard;
    Health status = Health::healthy;
    Locality locality;
    std::uint32_t capacity = 1;
    std::vector<std::string> authorization_policies;
    std::map<NamespacedHostname, PortMap> services;
    // Known, and shown. Routes refuse what a waypoint or a gateway should see; nothing uses the other two yet.
    std::optional<GatewayAddress> waypoint;
    std::optional<GatewayAddress> network_gateway;
    std::optional<ApplicationTunnel> application_tunnel;
    bool native_tunnel = false;

    Identity identity() const { return {trust_domain, namespace_, service_account}; }
    friend bool operator==(const Workload&, const Workload&) = default;
};

struct Endpoint {
    std::string workload_uid;
    PortMap ports;
    Health status = Health::healthy;
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct LoadBalancer {
    std::vector<Scope> preferences;
    BalanceMode mode = BalanceMode::standard;
    HealthPolicy health_policy = HealthPolicy::only_healthy;
    friend bool operator==(const LoadBalancer&, const LoadBalancer&) = default;
};

struct Service {
    std::string name;
    std::string namespace_;
    std::string hostname;
    std::vector<NetworkAddress> vips;
    std::vector<NetworkCidr> cidr_vips;
    PortMap ports;
    std::map<std::string, Endpoint> endpoints;  // by workload uid; the workloads' own `services` are merged in
    std::vector<std::string> subject_alt_names;
    LoadBalancer load_balancer;
    IpFamilies ip_families = IpFamilies::dual;
    bool canonical = false;
    bool visible_only_in_namespace = false;
    std::optional<GatewayAddress> waypoint;
    std::vector<WeightedWaypoint> weighted_waypoints;

    bool has_waypoint() const noexcept { return waypoint || !weighted_waypoints.empty(); }
    NamespacedHostname key() const { return {namespace_, hostname}; }
    friend bool operator==(const Service&, const Service&) = default;
};

// As a service keeps what one of its workloads says.
inline Endpoint endpoint_of(const Workload& workload, const PortMap& ports) {
    return {workload.uid, ports, workload.status};
}

using WorkloadPtr = std::shared_ptr<const Workload>;
using ServicePtr = std::shared_ptr<const Service>;

}
