// SPDX-License-Identifier: Apache-2.0
// The node proxy of a cluster, from ztunnel's environment variables and mesh config: same names, defaults and errors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include <culvert/base/result.hpp>
#include <culvert/control/config.hpp>

namespace culvert::control {

using Variables = std::map<std::string, std::string>;

// Of this process.
Variables environment();

// Whether somebody has set them for a node of a cluster: INPOD_UDS or XDS_ADDRESS is there.
bool names_a_cluster(const Variables& variables);

// One server of the control plane.
struct ServerSettings {
    std::string address;           // a URI; empty: none
    std::string roots;             // the path of a file, SYSTEM, or PEM
    std::string alternative_name;  // a second name that its certificate may have; empty: none
    std::map<std::string, std::string> headers;
};

struct ClusterSettings {
    ServerSettings xds;
    ServerSettings ca;
    std::string token;  // the path of a file, or the token; empty: none
    std::string pod_name;
    std::string pod_namespace;
    std::string service_account;
    std::string instance_ip;
    std::map<std::string, std::string> metadata;             // of the node, for istiod
    std::map<std::string, std::string> structured_metadata;  // more of it, whose values are JSON; these win
    bool on_demand = false;                                  // istiod tells of an address when it is asked, not of all
    std::string istio_version;
    std::string zds_socket;
};

struct Environment {
    Config config;  // what a file would say of the node itself
    ClusterSettings cluster;
    std::vector<std::string> notes;  // for the log: what is set and not honoured, a line each
};

// `mesh_config`: a file that need not be there. Fails with one line that names the variable.
base::Result<Environment> read_environment(const Variables& variables,
                                           const std::string& mesh_config = "./etc/istio/config/mesh");

}
