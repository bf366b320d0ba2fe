// SPDX-License-Identifier: Apache-2.0
// The one YAML file of a standalone node: its settings, its pods, and the mesh in ztunnel's static form.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/log.hpp>
#include <culvert/base/result.hpp>
#include <culvert/base/socket.hpp>
#include <culvert/policy/policy.hpp>
#include <culvert/state/exclusions.hpp>
#include <culvert/state/workload.hpp>

namespace culvert::control {

struct NodeSettings {
    std::string name;
    std::string network;
    std::string cluster_id = "Kubernetes";
    std::string trust_domain = "cluster.local";
    std::string netns = {};  // the path of the node's own, where culvertd lives in another; empty: culvertd's
    friend bool operator==(const NodeSettings&, const NodeSettings&) = default;
};

enum class CaptureMode { ebpf, iptables };

// Either a directory, or a certificate and its key.
struct CaSettings {
    std::string directory = "/var/lib/culvert/ca";  // empty when the two below are set
    std::string certificate;
    std::string key;
    std::string crl;  // a file of revocations; empty: none
    std::chrono::milliseconds ttl = std::chrono::hours{24};
    friend bool operator==(const CaSettings&, const CaSettings&) = default;
};

struct LogSettings {
    base::log::Level level = base::log::Level::info;
    base::log::Format format = base::log::Format::text;
    std::string access = "stdout";  // or a file
    friend bool operator==(const LogSettings&, const LogSettings&) = default;
};

struct DoorSettings {
    std::optional<base::SocketAddress> metrics = base::SocketAddress{{}, 15020};  // [::]; nothing: no door
    std::optional<base::SocketAddress> ready = base::SocketAddress{{}, 15021};
    std::optional<base::SocketAddress> admin;  // ztunnel's, on this node's loopback; nothing: no door
    // A path, for culvertctl; nothing: admin::control_socket(), empty: no door.
    std::optional<std::string> control;
    friend bool operator==(const DoorSettings&, const DoorSettings&) = default;
};

struct LimitSettings {
    std::uint32_t max_pods = 1024;
    std::uint32_t max_flows = 16384;
    std::uint32_t max_connections_per_worker = 16384;
    // Of peers; each holds for one worker, and the sources are addresses.
    std::uint32_t max_handshakes_per_worker = 4096;
    std::uint32_t max_handshakes_per_source = 1024;
    std::uint32_t max_tunnels_per_pod = 8192;
    std::uint32_t max_tunnels_per_source = 1024;  // to one pod
    std::uint32_t max_tunnels_per_peer = 256;     // from one pod
    std::uint32_t max_streams_per_tunnel = 200;
    std::uint32_t max_header_bytes = 65536;  // of one request
    std::uint32_t control_frames_per_second = 1000;
    std::chrono::milliseconds handshake_timeout = std::chrono::seconds{10};
    std::chrono::milliseconds connect_timeout = std::chrono::seconds{10};
    friend bool operator==(const LimitSettings&, const LimitSettings&) = default;
};

struct DnsSettings {
    bool on = false;  // pods' questions to nameservers are answered by us
    std::string resolv_conf = "/etc/resolv.conf";
    std::string cluster_domain = "cluster.local";
    std::string preferred_namespace;
    // Where in a pod it listens, whose rules send questions to an address; empty: to where istio-cni's send them.
    std::vector<base::SocketAddress> redirected_to = {};
    friend bool operator==(const DnsSettings&, const DnsSettings&) = default;
};

// A pod of this node, with the identity of its workload.
struct Pod {
    std::string uid;
    std::string name;
    state::Identity identity;
    std::string netns;  // path, as given
    // The network namespace itself, where that was handed over. No path leads to it then.
    std::shared_ptr<const base::Fd> netns_itself = {};
    // Interfaces in the pod that lead to VMs or nested containers: what those open is the pod's outbound.
    std::vector<std::string> virtual_interfaces;
    state::Exclusions exclude;  // the node's and its own
    std::optional<bool> dns;    // whether its questions are; nothing: as the node's
    friend bool operator==(const Pod&, const Pod&) = default;
};

// Of the HBONE wire; ztunnel's defaults are hbone::Settings'.
struct TransportSettings {
    std::uint32_t stream_window = 4u << 20;
    std::uint32_t connection_window = 16u << 20;
    std::uint32_t frame_bytes = 1u << 20;
    std::uint32_t pool_streams = 200;
    std::chrono::milliseconds pool_idle = std::chrono::minutes{5};
    friend bool operator==(const TransportSettings&, const TransportSettings&) = default;
};

struct Config {
    NodeSettings node;
    CaptureMode capture = CaptureMode::ebpf;
    CaSettings ca;
    LogSettings log;
    unsigned workers = 0;  // 0: one per core
    bool ipv6 = true;      // else nobody listens on it, and names have no addresses of it
    std::chrono::milliseconds shutdown_deadline = std::chrono::seconds{5};
    DoorSettings doors;
    DnsSettings dns;
    LimitSettings limits;
    TransportSettings transport;
    base::KeepAlive keepalive;
    std::vector<Pod> pods;  // each has a workload with its uid
    std::vector<state::Workload> workloads;
    std::vector<state::Service> services;
    std::vector<policy::Policy> policies;
    // What a workload's name for a policy that is not here comes to. Nothing: the file is refused.
    std::optional<policy::Unknown> unknown_policy;
};

// Fails with one line: "FILE:LINE: workloads[2].protocol: found "UDP", expected TCP or HBONE". The first mistake only.
base::Result<Config> load_config(const std::string& file);
// The same for text that came from elsewhere; `file` is what errors call it.
base::Result<Config> parse_config(const std::string& text, const std::string& file);

}
