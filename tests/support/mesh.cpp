// SPDX-License-Identifier: Apache-2.0
#include "mesh.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outcome.hpp"

namespace culvert::test {
namespace {

std::string flow_map(const Ports& ports) {
    std::string text;
    for (const auto& [service, target] : ports)
        text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", service, target);
    return "{" + text + "}";
}

std::string head(const Mesh& mesh, int node) {
    const DaemonSettings& settings = mesh.settings;
    const std::string folder = mesh.lab->folder();
    const std::string name = mesh.lab->node_name(node);
    return fmt::format(
        "node: {{name: {0}, network: \"\", clusterId: Kubernetes, trustDomain: cluster.local, exclude: {8}}}\n"
        "capture: {1}\n"
        "ca: {{directory: {2}/ca, ttl: {3}}}\n"
        "log: {{level: debug, format: {4}, access: {2}/{0}.access}}\n"
        "workers: {5}\n"
        "shutdown: {{deadline: {6}}}\n"
        "doors: {{metrics: \"[::]:15020\", ready: \"[::]:15021\", admin: \"127.0.0.1:15000\"}}\n{7}",
        name, capture_mode(), folder, settings.certificate_ttl, settings.log_format, settings.workers,
        settings.deadline, settings.extra, settings.exclude);
}

std::string pod_line(const Workload& workload) {
    const Pod& pod = *workload.pod;
    return fmt::format(
        "- {{uid: \"{}\", name: {}, namespace: {}, serviceAccount: {}, netns: {}, virtualInterfaces: [{}], "
        "exclude: {}{}}}\n",
        Mesh::uid(pod), pod.name(), workload.namespace_, workload.service_account, pod.netns_path(),
        fmt::join(workload.virtual_interfaces, ", "), workload.exclude,
        workload.dns.empty() ? "" : ", dns: " + workload.dns);
}

std::string workload_line(const Mesh& mesh, const Workload& workload) {
    const Pod& pod = *workload.pod;
    std::string services;
    for (const auto& [name, ports] : workload.services)
        services += fmt::format("{}\"ns/{}\": {}", services.empty() ? "" : ", ", mesh.service(name).hostname(),
                                flow_map(ports));
    return fmt::format(
        "- {{uid: \"{0}\", name: {1}, namespace: {8}, serviceAccount: {2}, trustDomain: cluster.local, "
        "clusterId: Kubernetes, workloadIps: [{3}, \"{4}\"], protocol: {5}, node: {6}, services: {{{7}}}}}\n",
        Mesh::uid(pod), pod.name(), workload.service_account, pod.ip(Family::v4).to_string(),
        pod.ip(Family::v6).to_string(), workload.protocol, mesh.lab->node_name(pod.node()), services,
        workload.namespace_);
}

std::string service_line(const Service& service) {
    const std::string vips = service.index == 0 ? "" : fmt::format("\"/10.96.0.{0}\", \"/fd96::{0}\"", service.index);
    return fmt::format("- {{name: {}, namespace: ns, hostname: {}, vips: [{}], ports: {}}}\n", service.name,
                       service.hostname(), vips, flow_map(service.ports));
}

// A list of {"service_port": 80, "target_port": 8080}.
std::string port_list(const Ports& ports) {
    std::string text;
    for (const auto& [service, target] : ports)
        text +=
            fmt::format(R"({}{{"service_port": {}, "target_port": {}}})", text.empty() ? "" : ", ", service, target);
    return "[" + text + "]";
}

std::string workload_json(const Mesh& mesh, const Workload& workload) {
    const Pod& pod = *workload.pod;
    std::string services;
    for (const auto& [name, ports] : workload.services)
        services += fmt::format(R"({}"ns/{}": {{"ports": {}}})", services.empty() ? "" : ", ",
                                mesh.service(name).hostname(), port_list(ports));
    return fmt::format(
        R"({{"workload": {{"uid": "{0}", "name": "{1}", "namespace": "{2}", "service_account": "{3}", )"
        R"("addresses": ["{4}", "{5}"], "tunnel_protocol": "{6}", "node": "{7}", "cluster_id": "Kubernetes", )"
        R"("services": {{{8}}}, "authorization_policies": [{9}]}}}})",
        Mesh::uid(pod), pod.name(), workload.namespace_, workload.service_account, pod.ip(Family::v4).to_string(),
        pod.ip(Family::v6).to_string(), workload.protocol == "HBONE" ? "HBONE" : "NONE",
        mesh.lab->node_name(pod.node()), services, workload.policies);
}

std::string service_json(const Service& service) {
    return fmt::format(R"({{"service": {{"name": "{0}", "namespace": "ns", "hostname": "{1}", "addresses": )"
                       R"([{{"address": "10.96.0.{2}"}}, {{"address": "fd96::{2}"}}], "ports": {3}}}}})",
                       service.name, service.hostname(), service.index, port_list(service.ports));
}

}

SocketAddress Service::at(Family family, std::uint16_t port) const {
    const std::string last = std::to_string(index);
    return {*IpAddress::parse(family == Family::v4 ? "10.96.0." + last : "fd96::" + last), port};
}

Workload& Mesh::add(Workload workload) {
    return workloads.emplace_back(std::move(workload));
}
Service& Mesh::add(Service service) {
    return services.emplace_back(std::move(service));
}

Workload& Mesh::workload(const Pod& pod) {
    auto found = std::ranges::find(workloads, &pod, &Workload::pod);
    if (found == workloads.end()) throw std::logic_error("no workload for pod " + pod.name());
    return *found;
}

const Service& Mesh::service(const std::string& name) const {
    auto found = std::ranges::find(services, name, &Service::name);
    if (found == services.end()) throw std::logic_error("no service " + name);
    return *found;
}

std::string Mesh::identity(const Pod& pod) const {
    auto found = std::ranges::find(workloads, &pod, &Workload::pod);
    return "spiffe://cluster.local/ns/" + found->namespace_ + "/sa/" + found->service_account;
}

std::string Mesh::yaml(int node) const {
    std::string pods;
    std::string all_workloads;
    std::string all_services;
    for (const Workload& each : workloads) {
        if (each.enrolled && each.pod->node() == node) pods += pod_line(each);
        all_workloads += workload_line(*this, each);
    }
    for (const Service& each : services) all_services += service_line(each);
    const auto section = [](const char* key, const std::string& lines) {
        return lines.empty() ? fmt::format("{}: []\n", key) : fmt::format("{}:\n{}", key, lines);
    };
    return head(*this, node) + section("pods", pods) + section("workloads", all_workloads) +
           section("services", all_services);
}

std::string Mesh::addresses_json() const {
    std::string all;
    for (const Workload& each : workloads) all += (all.empty() ? "" : ", ") + workload_json(*this, each);
    for (const Service& each : services) all += (all.empty() ? "" : ", ") + service_json(each);
    return "[" + all + "]";
}

}
