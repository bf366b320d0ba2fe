// SPDX-License-Identifier: Apache-2.0
#include "cluster.hpp"

#include <cstdlib>
#include <fstream>

#include <fmt/format.h>

namespace culvert::test {
namespace {

constexpr const char* istiod_address = "10.71.1.1";

}

Cluster::Cluster(const Lab& lab)
    : istiod{lab.folder() / "istiod",
             {.netns = lab.node_netns(1),
              .listen = fmt::format("{}:15012", istiod_address),
              .arguments = {"--token", "good"}}},
      lab_{lab} {
    for (int node : {1, 2}) agents_.emplace(node, std::make_unique<IstioCni>(lab, "cni-" + std::to_string(node)));
    std::ofstream{lab.folder() / "token"} << "good";
}

std::vector<std::string> Cluster::environment(int node, const DaemonSettings& settings) const {
    const std::string address = fmt::format("https://{}:15012", istiod_address);
    const std::string folder = lab_.folder();
    return {
        "XDS_ADDRESS=" + address,
        "CA_ADDRESS=" + address,
        "XDS_ROOT_CA=" + istiod.root(),
        "CA_ROOT_CA=" + istiod.root(),
        "ALT_XDS_HOSTNAME=istiod.istio-system.svc",
        "ALT_CA_HOSTNAME=istiod.istio-system.svc",
        "AUTH_TOKEN=" + folder + "/token",
        "INPOD_UDS=" + agents_.at(node)->socket(),
        "NODE_NAME=" + lab_.node_name(node),
        "POD_NAME=ztunnel-" + std::to_string(node),
        "POD_NAMESPACE=istio-system",
        "SERVICE_ACCOUNT=ztunnel",
        "INSTANCE_IP=" + std::string{istiod_address},
        "ISTIO_META_CLUSTER_ID=Kubernetes",
        "SECRET_TTL=" + settings.certificate_ttl,
        "RUST_LOG=debug",
        "ZTUNNEL_WORKER_THREADS=2",
    };
}

void Cluster::tell(const Mesh& mesh) {
    istiod.order(fmt::format(R"({{"do": "mesh", "addresses": {}, "authorizations": {}}})", mesh.addresses_json(),
                             mesh.authorizations));
    for (const Workload& workload : mesh.workloads) {
        IstioCni& agent = *agents_.at(workload.pod->node());
        if (workload.enrolled && handed_over_.insert(workload.pod).second)
            agent.add(*workload.pod, workload.service_account, workload.rules, workload.namespace_);
        else if (!workload.enrolled && handed_over_.erase(workload.pod) > 0)
            agent.del(*workload.pod);
    }
}

bool under_istiod() {
    const char* under = std::getenv("CULVERT_UNDER");
    return under != nullptr && std::string{under} == "istiod";
}

}
