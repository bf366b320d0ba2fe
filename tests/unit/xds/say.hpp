// SPDX-License-Identifier: Apache-2.0
// What a control plane may say, in short words.
#pragma once
#include <string>

#include "authorization.pb.h"
#include "discovery.pb.h"
#include "workload.pb.h"

namespace say {

using Response = envoy::service::discovery::v3::DeltaDiscoveryResponse;
using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
using Resource = envoy::service::discovery::v3::Resource;

constexpr const char* address_type = "type.googleapis.com/istio.workload.Address";
constexpr const char* policy_type = "type.googleapis.com/istio.security.Authorization";

inline istio::workload::Workload workload(const std::string& uid, const std::string& ip4 = "\x0a\x01\x02\x03") {
    istio::workload::Workload w;
    w.set_uid(uid);
    w.set_name(uid);
    w.set_namespace_("ns");
    w.add_addresses(ip4);
    return w;
}

inline istio::workload::Service service(const std::string& host) {
    istio::workload::Service s;
    s.set_name(host);
    s.set_namespace_("ns");
    s.set_hostname(host);
    auto* port = s.add_ports();
    port->set_service_port(80);
    port->set_target_port(8080);
    return s;
}

// Denies a port to everybody in the namespace.
inline istio::security::Authorization policy(const std::string& name, std::uint32_t port = 80) {
    istio::security::Authorization a;
    a.set_name(name);
    a.set_namespace_("ns");
    a.set_scope(istio::security::NAMESPACE);
    a.set_action(istio::security::DENY);
    a.add_rules()->add_clauses()->add_matches()->add_destination_ports(port);
    return a;
}

inline std::string bytes(const istio::workload::Workload& w) {
    istio::workload::Address address;
    *address.mutable_workload() = w;
    return address.SerializeAsString();
}
inline std::string bytes(const istio::workload::Service& s) {
    istio::workload::Address address;
    *address.mutable_service() = s;
    return address.SerializeAsString();
}
inline std::string bytes(const istio::security::Authorization& a) {
    return a.SerializeAsString();
}

inline std::string name(const istio::workload::Workload& w) {
    return w.uid();
}
inline std::string name(const istio::workload::Service& s) {
    return s.namespace_() + "/" + s.hostname();
}
inline std::string name(const istio::security::Authorization& a) {
    return a.namespace_() + "/" + a.name();
}

inline Response addresses(const std::string& nonce = "n1") {
    Response response;
    response.set_type_url(address_type);
    response.set_nonce(nonce);
    return response;
}
inline Response policies(const std::string& nonce = "n1") {
    Response response;
    response.set_type_url(policy_type);
    response.set_nonce(nonce);
    return response;
}

inline Resource* add(Response& to, const std::string& name, const std::string& bytes, const std::string& version) {
    Resource* resource = to.add_resources();
    resource->set_name(name);
    resource->set_version(version);
    resource->mutable_resource()->set_type_url(to.type_url());
    resource->mutable_resource()->set_value(bytes);
    return resource;
}
template <class T>
Resource* add(Response& to, const T& value, const std::string& version = "v1") {
    return add(to, name(value), bytes(value), version);
}

inline std::string bytes(const Response& response) {
    return response.SerializeAsString();
}
inline Request request(const std::string& bytes) {
    Request request;
    request.ParseFromString(bytes);
    return request;
}

}
