// SPDX-License-Identifier: Apache-2.0
// What the configuration files say: workloads, services, and which pods are enrolled; the YAML is made from it.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lab.hpp"

namespace culvert::test {

using Ports = std::map<int, int>;  // service port: target port

struct Workload {
    const Pod* pod = nullptr;
    std::string service_account = "default";
    std::string protocol = "HBONE";
    bool enrolled = true;                   // listed under `pods` of its node
    std::map<std::string, Ports> services;  // by the service's short name
    std::vector<std::string> virtual_interfaces = {};
    std::string exclude = "{}";  // YAML, as in the file
    std::string namespace_ = "ns";
    std::string rules = "";     // that its node's agent of Istio's CNI writes into it: iptables, legacy; "... no-dns"
    std::string dns;            // YAML, as in the file; empty: as the node's
    std::string policies = {};  // that it names, as a JSON list's content; for a control plane
};

struct Service {
    std::string name;
    int index = 0;  // its addresses: 10.96.0.INDEX and fd96::INDEX; 0: headless
    Ports ports;

    SocketAddress at(Family family, std::uint16_t port) const;
    std::string hostname() const { return name + ".ns.svc.cluster.local"; }
};

// The part of a file that is not about pods and workloads.
struct DaemonSettings {
    std::string certificate_ttl = "24h";
    std::string log_format = "text";
    std::string deadline = "5s";
    int workers = 2;
    std::string exclude = "{}";  // the node's
    std::string extra;           // appended as it is
};

struct Mesh {
    const Lab* lab = nullptr;
    std::vector<Workload> workloads;
    std::vector<Service> services;
    DaemonSettings settings;
    std::string authorizations = "[]";  // JSON in protobuf's names; for a control plane

    Workload& add(Workload workload);
    Service& add(Service service);
    Workload& workload(const Pod& pod);
    const Service& service(const std::string& name) const;
    static std::string uid(const Pod& pod) { return "Kubernetes//Pod/ns/" + pod.name(); }
    std::string identity(const Pod& pod) const;

    std::string yaml(int node) const;
    // Workloads and services in protobuf's names, as JSON: what a control plane tells.
    std::string addresses_json() const;
};

}
