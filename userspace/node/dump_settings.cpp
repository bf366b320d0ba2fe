// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>

#include <algorithm>
#include <thread>

#include "config_dump.hpp"
#include "own_pod.hpp"

namespace culvert::node {
namespace {

namespace json = boost::json;

json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
}

template <class Duration>
json::object to_json(Duration duration) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
    const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(duration - seconds);
    return {{"secs", seconds.count()}, {"nanos", rest.count()}};
}

json::value to_json(const std::optional<base::SocketAddress>& address) {
    return address ? json::value{{"SocketAddr", address->to_string()}} : json::value(nullptr);
}

// ztunnel says whether IPv6 is there as well, and the port.
json::value on_loopback(const std::optional<base::SocketAddress>& address) {
    if (!address) return nullptr;
    return {{"Localhost", json::array{!address->ip.is_v4(), address->port}}};
}

// What goes with every request may be what lets us in.
json::array names_of(const std::map<std::string, std::string>& headers) {
    json::array all;
    for (const auto& [name, value] : headers) all.push_back(json::array{name, "(not told)"});
    return all;
}

json::object own_settings(const control::Config& config) {
    const auto& limits = config.limits;
    return {{"capture", config.capture == control::CaptureMode::ebpf ? "ebpf" : "iptables"},
            {"maxPods", limits.max_pods},
            {"maxFlows", limits.max_flows},
            {"maxConnectionsPerWorker", limits.max_connections_per_worker},
            {"maxHandshakesPerWorker", limits.max_handshakes_per_worker},
            {"maxHandshakesPerSource", limits.max_handshakes_per_source},
            {"maxTunnelsPerPod", limits.max_tunnels_per_pod},
            {"maxTunnelsPerSource", limits.max_tunnels_per_source},
            {"maxTunnelsPerPeer", limits.max_tunnels_per_peer},
            {"maxStreamsPerTunnel", limits.max_streams_per_tunnel},
            {"maxHeaderBytes", limits.max_header_bytes},
            {"controlFramesPerSecond", limits.control_frames_per_second},
            {"handshakeTimeout", to_json(limits.handshake_timeout)},
            {"connectTimeout", to_json(limits.connect_timeout)},
            {"trustDomain", config.node.trust_domain},
            {"accessLog", config.log.access}};
}

void put_control_plane(json::object& all, const control::ClusterSettings& cluster, const control::Config& config) {
    all["xdsAddress"] = text_or_null(cluster.xds.address);
    all["caAddress"] = text_or_null(cluster.ca.address);
    all["altXdsHostname"] = text_or_null(cluster.xds.alternative_name);
    all["altCaHostname"] = text_or_null(cluster.ca.alternative_name);
    all["xdsHeaders"] = names_of(cluster.xds.headers);
    all["caHeaders"] = names_of(cluster.ca.headers);
    all["xdsRootCert"] = json::object{{"File", cluster.xds.roots}};
    all["caRootCert"] = json::object{{"File", cluster.ca.roots}};
    all["inpodUds"] = cluster.zds_socket;
    if (auto who = OwnPod::who(&cluster, config)) {
        all["ztunnelIdentity"] = who->identity.to_string();
        all["ztunnelWorkload"] = json::object{{"name", cluster.pod_name},
                                              {"namespace", cluster.pod_namespace},
                                              {"serviceAccount", cluster.service_account}};
    }
    all["xdsOnDemand"] = cluster.on_demand;
    json::object metadata;
    for (const auto& [key, value] : cluster.metadata) metadata[key] = value;
    all["proxyMetadata"] = std::move(metadata);
}

}

json::object dump_settings(const control::Config& config, const control::ClusterSettings* cluster) {
    const unsigned workers = config.workers != 0 ? config.workers : std::max(1u, std::thread::hardware_concurrency());
    const auto& keepalive = config.keepalive;
    const std::string anywhere = config.ipv6 ? "[::]" : "0.0.0.0";
    json::object all{
        {"proxy", true},
        {"proxyMode", "Shared"},
        {"proxyArgs", cluster ? "proxy ztunnel" : ""},
        {"dnsProxy", config.dns.on},
        {"clusterId", config.node.cluster_id},
        {"clusterDomain", config.dns.cluster_domain},
        {"network", config.node.network},
        {"localNode", config.node.name},
        {"numWorkerThreads", workers},
        {"adminAddr", on_loopback(config.doors.admin)},
        {"statsAddr", to_json(config.doors.metrics)},
        {"readinessAddr", to_json(config.doors.ready)},
        {"inboundAddr", anywhere + ":15008"},
        {"inboundPlaintextAddr", anywhere + ":15006"},
        {"outboundAddr", anywhere + ":15001"},
        {"illegalPorts", {15008, 15001, 15006}},
        {"packetMark", 1337},
        {"ipv6Enabled", config.ipv6},
        {"requireOriginalSource", true},
        {"windowSize", config.transport.stream_window},
        {"connectionWindowSize", config.transport.connection_window},
        {"frameSize", config.transport.frame_bytes},
        {"poolMaxStreamsPerConn", config.transport.pool_streams},
        {"poolUnusedReleaseTimeout", to_json(config.transport.pool_idle)},
        {"secretTtl", to_json(config.ca.ttl)},
        {"crlPath", text_or_null(config.ca.crl)},
        {"fakeCa", false},
        {"selfTerminationDeadline", to_json(config.shutdown_deadline)},
        {"socketConfig",
         {{"keepaliveEnabled", true},
          {"keepaliveTime", to_json(std::chrono::seconds{keepalive.idle_s})},
          {"keepaliveInterval", to_json(std::chrono::seconds{keepalive.interval_s})},
          {"keepaliveRetries", keepalive.retries},
          {"userTimeoutEnabled", keepalive.user_timeout_ms > 0}}},
        {"xdsAddress", nullptr},
        {"caAddress", nullptr},
        {"altXdsHostname", nullptr},
        {"altCaHostname", nullptr},
        {"xdsHeaders", json::array{}},
        {"caHeaders", json::array{}},
        {"xdsOnDemand", false},
        {"preferedServiceNamespace", text_or_null(config.dns.preferred_namespace)},
        {"proxyMetadata", json::object{}},
        {"socks5Addr", nullptr},
        {"ztunnelIdentity", nullptr},
        {"ztunnelWorkload", nullptr},
        {"culvert", own_settings(config)},
    };
    if (cluster) put_control_plane(all, *cluster, config);
    return all;
}

}
