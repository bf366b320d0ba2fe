// SPDX-License-Identifier: Apache-2.0
#include "decode.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "workload.pb.h"

namespace culvert::xds {

namespace wire = istio::workload;
using namespace state;
using base::problem;
using base::Result;

namespace {

std::string or_default(const std::string& text, const char* otherwise) {
    return text.empty() ? otherwise : text;
}

std::optional<NamespacedHostname> key_in(std::string_view text) {
    std::size_t slash = text.find('/');
    if (slash == 0 || slash == text.npos || slash + 1 == text.size()) return std::nullopt;
    if (text.find('/', slash + 1) != text.npos) return std::nullopt;
    return NamespacedHostname{std::string{text.substr(0, slash)}, std::string{text.substr(slash + 1)}};
}

base::Error unknown_value(const char* field, int value) {
    return problem(fmt::format("{} is {}, which this version does not know", field, value));
}

base::Error no_address(std::string_view field, std::size_t bytes) {
    return problem(fmt::format("{} has {} bytes; an address has 4 or 16", field, bytes));
}

base::Error no_port(std::string_view field, std::uint64_t value) {
    return problem(fmt::format("{} is {}, which is no port", field, value));
}

bool is_port(std::uint32_t value) {
    return value > 0 && value <= std::numeric_limits<std::uint16_t>::max();
}

template <class Ports>
Result<PortMap> port_map(const Ports& ports) {
    PortMap map;
    for (const wire::Port& port : ports) {
        if (!is_port(port.service_port())) return no_port("service_port", port.service_port());
        if (port.target_port() != 0 && !is_port(port.target_port())) return no_port("target_port", port.target_port());
        // The same number for TCP and for UDP is told twice.
        map.insert_or_assign(static_cast<std::uint16_t>(port.service_port()),
                             static_cast<std::uint16_t>(port.target_port()));
    }
    return map;
}

Result<GatewayAddress> gateway(const char* field, const wire::GatewayAddress& from) {
    GatewayAddress into;
    if (!is_port(from.hbone_mtls_port()))
        return no_port(fmt::format("{}.hbone_mtls_port", field), from.hbone_mtls_port());
    into.hbone_port = static_cast<std::uint16_t>(from.hbone_mtls_port());
    switch (from.destination_case()) {
        case wire::GatewayAddress::kHostname:
            into.destination = NamespacedHostname{from.hostname().namespace_(), from.hostname().hostname()};
            return into;
        case wire::GatewayAddress::kAddress: {
            auto ip = ip_of(from.address().address());
            if (!ip) return no_address(fmt::format("{}.address", field), from.address().address().size());
            into.destination = NetworkAddress{from.address().network(), *ip};
            return into;
        }
        default: return problem(fmt::format("{} has neither host name nor address", field));
    }
}

Result<> read_protocol(const wire::Workload& from, Workload& into) {
    switch (from.tunnel_protocol()) {
        case wire::HBONE: into.protocol = Protocol::hbone; return {};
        case wire::NONE:
        // Of sidecars. ztunnel refuses the workload, and so calls it plainly and without a name.
        case wire::LEGACY_ISTIO_MTLS: into.protocol = Protocol::tcp; return {};
        default: return unknown_value("tunnel_protocol", from.tunnel_protocol());
    }
}

Result<> read_type(const wire::Workload& from, Workload& into) {
    switch (from.workload_type()) {
        case wire::DEPLOYMENT: into.workload_type = "deployment"; return {};
        case wire::CRONJOB: into.workload_type = "cronjob"; return {};
        case wire::POD: into.workload_type = "pod"; return {};
        case wire::JOB: into.workload_type = "job"; return {};
        default: return unknown_value("workload_type", from.workload_type());
    }
}

Result<> read_enums(const wire::Workload& from, Workload& into) {
    if (auto done = read_protocol(from, into); !done) return done;
    if (auto done = read_type(from, into); !done) return done;
    if (!wire::WorkloadStatus_IsValid(from.status())) return unknown_value("status", from.status());
    if (!wire::NetworkMode_IsValid(from.network_mode())) return unknown_value("network_mode", from.network_mode());
    into.status = from.status() == wire::HEALTHY ? Health::healthy : Health::unhealthy;
    into.network_mode = from.network_mode() == wire::STANDARD ? NetworkMode::standard : NetworkMode::host_network;
    return {};
}

void read_names(const wire::Workload& from, Workload& into) {
    into.uid = from.uid();
    into.name = from.name();
    into.namespace_ = from.namespace_();
    into.trust_domain = or_default(from.trust_domain(), "cluster.local");
    into.service_account = or_default(from.service_account(), "default");
    into.cluster_id = or_default(from.cluster_id(), "Kubernetes");
    into.network = from.network();
    into.workload_name = from.workload_name();
    into.canonical_name = from.canonical_name();
    into.canonical_revision = from.canonical_revision();
    into.hostname = from.hostname();
    into.node = from.node();
    into.locality = {from.locality().region(), from.locality().zone(), from.locality().subzone()};
}

Result<> read_services(const wire::Workload& from, Workload& into) {
    for (const auto& [name, list] : from.services()) {
        auto key = key_in(name);
        if (!key) return problem("services names \"" + name + "\", which is not <namespace>/<hostname>");
        auto ports = port_map(list.ports());
        if (!ports) return problem("services." + name + ": " + ports.error().doing);
        into.services.emplace(std::move(*key), std::move(*ports));
    }
    return {};
}

Result<> read_gateways(const wire::Workload& from, Workload& into) {
    if (from.has_waypoint()) {
        auto waypoint = gateway("waypoint", from.waypoint());
        if (!waypoint) return waypoint.error();
        into.waypoint = std::move(*waypoint);
    }
    if (from.has_network_gateway()) {
        auto towards = gateway("network_gateway", from.network_gateway());
        if (!towards) return towards.error();
        into.network_gateway = std::move(*towards);
    }
    return {};
}

Result<> read_application_tunnel(const wire::ApplicationTunnel& from, Workload& into) {
    if (!wire::ApplicationTunnel::Protocol_IsValid(from.protocol()))
        return unknown_value("application_tunnel.protocol", from.protocol());
    if (from.port() != 0 && !is_port(from.port())) return no_port("application_tunnel.port", from.port());
    into.application_tunnel = {from.protocol() == wire::ApplicationTunnel::PROXY,
                               static_cast<std::uint16_t>(from.port())};
    return {};
}

Result<Resource> read(const wire::Workload& from) {
    Workload into;
    if (from.uid().empty()) return problem("it has no uid");
    read_names(from, into);
    if (auto done = read_enums(from, into); !done) return done.error();
    for (const std::string& bytes : from.addresses()) {
        auto ip = ip_of(bytes);
        if (!ip) return no_address(fmt::format("addresses[{}]", into.ips.size()), bytes.size());
        into.ips.push_back(*ip);
    }
    if (auto done = read_services(from, into); !done) return done.error();
    if (auto done = read_gateways(from, into); !done) return done.error();
    if (from.has_application_tunnel())
        if (auto done = read_application_tunnel(from.application_tunnel(), into); !done) return done.error();
    into.native_tunnel = from.native_tunnel();
    if (from.has_capacity()) into.capacity = from.capacity().value();
    into.authorization_policies.assign(from.authorization_policies().begin(), from.authorization_policies().end());
    return Resource{std::move(into)};
}

Result<> read_addresses(const wire::Service& from, Service& into) {
    for (const wire::NetworkAddress& address : from.addresses()) {
        auto ip = ip_of(address.address());
        if (!ip) return no_address("addresses", address.address().size());
        const std::uint32_t all = ip->is_v4() ? 32 : 128;
        const std::uint32_t length = address.has_length() ? address.length() : all;
        if (length > all) return problem(fmt::format("addresses has a length of {} in {}", length, ip->to_string()));
        if (length == all)
            into.vips.push_back({address.network(), *ip});
        else
            into.cidr_vips.push_back({address.network(), {*ip, length}});
    }
    return {};
}

Result<> read_load_balancing(const wire::LoadBalancing& from, LoadBalancer& into) {
    for (int scope : from.routing_preference()) {
        switch (scope) {
            case wire::LoadBalancing::REGION: into.preferences.push_back(Scope::region); break;
            case wire::LoadBalancing::ZONE: into.preferences.push_back(Scope::zone); break;
            case wire::LoadBalancing::SUBZONE: into.preferences.push_back(Scope::subzone); break;
            case wire::LoadBalancing::NODE: into.preferences.push_back(Scope::node); break;
            case wire::LoadBalancing::CLUSTER: into.preferences.push_back(Scope::cluster); break;
            case wire::LoadBalancing::NETWORK: into.preferences.push_back(Scope::network); break;
            default: return unknown_value("load_balancing.routing_preference", scope);
        }
    }
    switch (from.mode()) {
        case wire::LoadBalancing::UNSPECIFIED_MODE: into.mode = BalanceMode::standard; break;
        case wire::LoadBalancing::STRICT: into.mode = BalanceMode::strict; break;
        case wire::LoadBalancing::FAILOVER: into.mode = BalanceMode::failover; break;
        case wire::LoadBalancing::PASSTHROUGH: into.mode = BalanceMode::passthrough; break;
        default: return unknown_value("load_balancing.mode", from.mode());
    }
    if (!wire::LoadBalancing::HealthPolicy_IsValid(from.health_policy()))
        return unknown_value("load_balancing.health_policy", from.health_policy());
    into.health_policy =
        from.health_policy() == wire::LoadBalancing::ALLOW_ALL ? HealthPolicy::allow_all : HealthPolicy::only_healthy;
    return {};
}

Result<> read_families(const wire::Service& from, Service& into) {
    switch (from.ip_families()) {
        case wire::AUTOMATIC:
        case wire::DUAL: into.ip_families = IpFamilies::dual; return {};
        case wire::IPV4_ONLY: into.ip_families = IpFamilies::ipv4; return {};
        case wire::IPV6_ONLY: into.ip_families = IpFamilies::ipv6; return {};
        default: return unknown_value("ip_families", from.ip_families());
    }
}

Result<> read_waypoints(const wire::Service& from, Service& into) {
    if (from.has_waypoint()) {
        auto waypoint = gateway("waypoint", from.waypoint());
        if (!waypoint) return waypoint.error();
        into.waypoint = std::move(*waypoint);
    }
    for (const wire::WeightedWaypoint& weighted : from.weighted_waypoints()) {
        auto waypoint = gateway("weighted_waypoints.destination", weighted.destination());
        if (!waypoint) return waypoint.error();
        into.weighted_waypoints.push_back({std::move(*waypoint), weighted.weight()});
    }
    return {};
}

Result<Resource> read(const wire::Service& from) {
    Service into;
    into.name = from.name();
    into.namespace_ = from.namespace_();
    into.hostname = from.hostname();
    if (!key_in(into.key().to_string()))
        return problem("\"" + into.key().to_string() + "\" is not <namespace>/<hostname>");
    if (auto done = read_addresses(from, into); !done) return done.error();
    auto ports = port_map(from.ports());
    if (!ports) return ports.error();
    into.ports = std::move(*ports);
    if (auto done = read_load_balancing(from.load_balancing(), into.load_balancer); !done) return done.error();
    if (auto done = read_families(from, into); !done) return done.error();
    if (auto done = read_waypoints(from, into); !done) return done.error();
    // Nobody's certificate has what is no SPIFFE id: without it the service takes fewer peers, never more.
    std::copy_if(from.subject_alt_names().begin(), from.subject_alt_names().end(),
                 std::back_inserter(into.subject_alt_names),
                 [](const std::string& name) { return Identity::parse(name).has_value(); });
    into.canonical = from.canonical();
    into.visible_only_in_namespace = from.visibility() == wire::Service::NAMESPACE;
    return Resource{std::move(into)};
}

}

std::optional<base::IpAddress> ip_of(std::string_view bytes) {
    base::IpAddress ip;
    if (bytes.size() == 4)
        ip = base::IpAddress::any(AF_INET);  // for the mapped prefix
    else if (bytes.size() != 16)
        return std::nullopt;
    std::copy(bytes.begin(), bytes.end(), ip.bytes.end() - static_cast<std::ptrdiff_t>(bytes.size()));
    return ip;
}

std::optional<Cidr> cidr_of(std::string_view bytes, std::uint32_t prefix_length) {
    auto ip = ip_of(bytes);
    if (!ip || prefix_length > (ip->is_v4() ? 32u : 128u)) return std::nullopt;
    return Cidr{*ip, prefix_length};
}

Result<Resource> decode_address(std::string_view bytes) {
    wire::Address address;
    if (!address.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return problem("its bytes are no istio.workload.Address");
    switch (address.type_case()) {
        case wire::Address::kWorkload: return read(address.workload());
        case wire::Address::kService: return read(address.service());
        default: return problem("it is neither workload nor service");
    }
}

Result<Resource> decode(Kind kind, std::string_view name, std::string_view bytes) {
    auto resource = kind == Kind::address ? decode_address(bytes) : decode_policy(bytes);
    // What is removed is removed by its name.
    if (resource && name_of(*resource) != name) return problem("it calls itself " + name_of(*resource));
    return resource;
}

}
