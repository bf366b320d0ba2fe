// SPDX-License-Identifier: Apache-2.0
// Short words for building small meshes.
#pragma once
#include <culvert/base/address.hpp>
#include <culvert/state/workload.hpp>

namespace culvert::state {

inline base::IpAddress ip(std::string_view text) {
    return base::IpAddress::parse(text).value();
}
inline base::SocketAddress to(std::string_view text) {
    return base::SocketAddress::parse(text).value();
}
inline NetworkAddress at(std::string_view address, std::string network = "") {
    return {std::move(network), ip(address)};
}

inline Workload pod(const std::string& name, std::vector<std::string_view> addresses,
                    Protocol protocol = Protocol::hbone) {
    Workload w;
    w.uid = "Kubernetes//Pod/bench/" + name;
    w.name = name;
    w.namespace_ = "bench";
    w.trust_domain = "cluster.local";
    w.service_account = name;
    for (auto address : addresses) w.ips.push_back(ip(address));
    w.protocol = protocol;
    return w;
}

inline Service service(const std::string& name, std::vector<NetworkAddress> vips, PortMap ports = {{80, 8080}}) {
    Service s;
    s.name = name;
    s.namespace_ = "bench";
    s.hostname = name + ".bench.svc.cluster.local";
    s.vips = std::move(vips);
    s.ports = std::move(ports);
    return s;
}

// The workload says itself that it stands behind the service.
inline Workload serving(Workload w, const Service& s, PortMap ports = {{80, 8080}}) {
    w.services[s.key()] = std::move(ports);
    return w;
}

template <class T>
T with(T value, auto change) {
    change(value);
    return value;
}

}
