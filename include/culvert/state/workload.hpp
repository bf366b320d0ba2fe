// SPDX-License-Identifier: Apache-2.0
// Workloads and services as ztunnel's static YAML and config_dump know them. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/state/identity.hpp>

namespace culvert::state {

enum class Protocol { tcp, hbone };
enum class NetworkMode { standard, host_network };
enum class Health { healthy, unhealthy };

std::string_view to_string(Protocol) noexcept;  // "TCP", "HBONE": as configured and dumped
std::string_view to_string(NetworkMode) noexcept;
std::string_view to_string(Health) noexcept;

struct NetworkAddress {
    std::string network;
    base::IpAddress ip;
    friend auto operator<=>(const NetworkAddress&, const NetworkAddress&) = default;
};

struct NamespacedHostname {
    std::string namespace_;
    std::string hostname;
    std::string to_string() const { return namespace_ + "/" + hostname; }
    friend auto operator<=>(const NamespacedHostname&, const NamespacedHostname&) = default;
};

struct Locality {
    std::string region, zone, subzone;
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

    Identity identity() const { return {trust_domain, namespace_, service_account}; }
};

struct Endpoint {
    std::string workload_uid;
    PortMap ports;
    Health status = Health::healthy;
};

struct Service {
    std::string name;
    std::string namespace_;
    std::string hostname;
    std::vector<NetworkAddress> vips;
    PortMap ports;
    std::map<std::string, Endpoint> endpoints;  // by workload uid; the workloads' own `services` are merged in
    std::vector<std::string> subject_alt_names;
    bool canonical = false;
    bool visible_only_in_namespace = false;

    NamespacedHostname key() const { return {namespace_, hostname}; }
};

using WorkloadPtr = std::shared_ptr<const Workload>;
using ServicePtr = std::shared_ptr<const Service>;

}
