// SPDX-License-Identifier: Apache-2.0
#include "part_settings.hpp"

#include <algorithm>
#include <thread>

namespace culvert::node {

unsigned worker_count(const control::Config& config) {
    return config.workers != 0 ? config.workers : std::max(1u, std::thread::hardware_concurrency());
}

capture::Mode capture_mode(const control::Config& config) {
    return config.capture == control::CaptureMode::ebpf ? capture::Mode::ebpf : capture::Mode::iptables;
}

capture::Settings capture_settings(const control::Config& config, bool take_over) {
    return {.mode = capture_mode(config),
            .instance = config.node.name,
            .node_netns = config.node.netns,
            .workers = worker_count(config),
            .max_pods = config.limits.max_pods,
            .max_flows = config.limits.max_flows,
            .keepalive = config.keepalive,
            .ipv6 = config.ipv6,
            .take_over = take_over};
}

proxy::Limits worker_limits(const control::Config& config) {
    proxy::Limits limits;
    limits.keepalive = config.keepalive;
    limits.connect = config.limits.connect_timeout;
    limits.connections_per_worker = config.limits.max_connections_per_worker;
    limits.hbone.connect = config.limits.connect_timeout;
    limits.handshakes_per_worker = config.limits.max_handshakes_per_worker;
    limits.handshakes_per_source = config.limits.max_handshakes_per_source;
    limits.hbone.server_tunnels = config.limits.max_tunnels_per_pod;
    limits.hbone.server_tunnels_of_one = config.limits.max_tunnels_per_source;
    limits.hbone.pool_tunnels = config.limits.max_tunnels_per_peer;
    limits.hbone.server_streams = config.limits.max_streams_per_tunnel;
    limits.hbone.server_header_list = config.limits.max_header_bytes;
    limits.hbone.control_frames_per_second = config.limits.control_frames_per_second;
    limits.hbone.handshake = config.limits.handshake_timeout;
    limits.hbone.stream_window = config.transport.stream_window;
    limits.hbone.connection_window = config.transport.connection_window;
    limits.hbone.max_frame = config.transport.frame_bytes;
    limits.hbone.pool_streams = config.transport.pool_streams;
    limits.hbone.pool_idle = config.transport.pool_idle;
    return limits;
}

dns::Settings dns_settings(const control::Config& config, capture::Capture& capture) {
    dns::Settings settings;
    settings.names.cluster_domain = config.dns.cluster_domain;
    settings.names.preferred_namespace = config.dns.preferred_namespace;
    settings.names.ipv6 = config.ipv6;
    settings.resolv_conf = config.dns.resolv_conf;
    settings.claim = [&capture](int fd) { return capture.claim(fd, capture::OwnSocket::dial); };
    return settings;
}

}
