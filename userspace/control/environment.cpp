// SPDX-License-Identifier: Apache-2.0
// ztunnel's src/config.rs in its effects: names, defaults, what wins over what.
#include <culvert/control/environment.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <thread>

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <culvert/grpc/target.hpp>

#include "proxy_config.hpp"
#include "variables.hpp"
#include "yaml.hpp"

namespace culvert::control {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t most = std::numeric_limits<std::int32_t>::max();
constexpr const char* default_roots = "./var/run/secrets/istio/root-cert.pem";
constexpr const char* default_token = "./var/run/secrets/tokens/istio-token";
constexpr std::uint16_t istio_cni_dns_port = 15053;
constexpr const char* istiod = "https://istiod.istio-system.svc:15012";

bool exists(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0;
}

std::string host_name() {
    char name[256] = {};
    return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "node";
}

ProxyConfig proxy_config_of(const Reading& variables, const std::string& mesh_config) {
    ProxyConfig config = read_mesh_config(mesh_config);
    if (auto text = variables.text("PROXY_CONFIG"))
        config = merged(std::move(config), parse_proxy_config(*text, "PROXY_CONFIG"));
    // Keys of proxyMetadata may be written as variables are.
    std::map<std::string, std::string> metadata;
    for (const auto& [key, value] : config.metadata)
        metadata[key.starts_with("ISTIO_META_") ? key.substr(std::strlen("ISTIO_META_")) : key] = value;
    for (const auto& [key, value] : variables.with_prefix("ISTIO_META_")) metadata[key] = value;
    config.metadata = std::move(metadata);
    return config;
}

std::string uri(std::string address) {
    if (!address.empty() && address.find("://") == std::string::npos) address.insert(0, "https://");
    return address;
}

std::string default_server(const Reading& variables) {
    return variables.text("KUBERNETES_SERVICE_HOST") ? istiod : "https://localhost:15012";
}

ServerSettings server(const Reading& variables, const std::string& kind, const std::string& address) {
    ServerSettings server;
    server.address = uri(variables.text(kind + "_ADDRESS").value_or(address));
    server.roots = variables.text(kind + "_ROOT_CA").value_or(default_roots);
    server.alternative_name = variables.text("ALT_" + kind + "_HOSTNAME").value_or("");
    server.headers = variables.with_prefix(kind + "_HEADER_");
    return server;
}

unsigned worker_count(const Reading& variables, const ProxyConfig& proxy) {
    const unsigned machine = std::max(1u, std::thread::hardware_concurrency());
    const auto limit = variables.cores("ZTUNNEL_RESOURCE_CPU_LIMIT");
    const unsigned cores = std::max(1u, limit ? *limit : variables.cores("ZTUNNEL_CPU_LIMIT").value_or(machine));
    if (auto wanted = variables.text("ZTUNNEL_WORKER_THREADS"); wanted && wanted->ends_with('%')) {
        Variables percent{{"ZTUNNEL_WORKER_THREADS", wanted->substr(0, wanted->size() - 1)}};
        return (cores * Reading{percent}.number("ZTUNNEL_WORKER_THREADS", 100, 1, 100) + 99) / 100;
    } else if (wanted) {
        auto number = variables.number("ZTUNNEL_WORKER_THREADS", 0, 0, 1024);
        return number == 0 ? cores : number;
    }
    if (proxy.concurrency) return *proxy.concurrency == 0 ? cores : *proxy.concurrency;
    const unsigned request = variables.cores("ZTUNNEL_RESOURCE_CPU_REQUEST").value_or(0);
    if (limit) return std::max({1u, *limit, request});
    return std::max({(cores + 3) / 4, request, 2u});
}

std::chrono::milliseconds drain_time(const Reading& variables) {
    if (auto time = variables.duration("CONNECTION_TERMINATION_DEADLINE")) return *time;
    if (!variables.text("TERMINATION_GRACE_PERIOD_SECONDS")) return 5s;
    const auto grace = variables.number("TERMINATION_GRACE_PERIOD_SECONDS", 0, 0, most);
    return std::chrono::seconds{grace > 10 ? grace - 5 : std::max(grace, 2u) - 1};
}

// "info", "warn,access=debug": the part without a target is ours.
base::log::Level log_level(const Reading& variables) {
    const std::string all = variables.text_or("RUST_LOG", "info");
    for (std::size_t from = 0; from <= all.size();) {
        const auto end = std::min(all.find(',', from), all.size());
        const auto part = all.substr(from, end - from);
        if (part == "trace") return base::log::Level::debug;
        if (auto level = base::log::parse_level(part)) return *level;
        from = end + 1;
    }
    return base::log::Level::info;
}

base::KeepAlive keepalive(const Reading& variables) {
    auto seconds = [&](const char* name, int otherwise) {
        auto time = variables.duration(name);
        return time ? static_cast<int>(std::clamp<std::int64_t>(*time / 1s, 1, 32767)) : otherwise;
    };
    base::KeepAlive values;
    values.idle_s = seconds("KEEPALIVE_TIME", values.idle_s);
    values.interval_s = seconds("KEEPALIVE_INTERVAL", values.interval_s);
    values.retries =
        static_cast<int>(variables.number("KEEPALIVE_RETRIES", static_cast<std::uint32_t>(values.retries), 1, 127));
    const std::int64_t user_timeout = 1000ll * (values.idle_s + std::int64_t{values.retries} * values.interval_s);
    const bool wanted = variables.flag("USER_TIMEOUT_ENABLED", false);
    values.user_timeout_ms = wanted ? static_cast<int>(std::min<std::int64_t>(user_timeout, most)) : 0;
    return values;
}

TransportSettings transport(const Reading& variables) {
    TransportSettings values;
    values.stream_window = variables.number("HTTP2_STREAM_WINDOW_SIZE", values.stream_window, 65'535, most);
    values.connection_window = variables.number("HTTP2_CONNECTION_WINDOW_SIZE", values.connection_window, 65'535, most);
    values.frame_bytes = variables.number("HTTP2_FRAME_SIZE", values.frame_bytes, 16'384, 16'777'215);
    values.pool_streams = variables.number("POOL_MAX_STREAMS_PER_CONNECTION", values.pool_streams, 1, 65'535);
    values.pool_idle = variables.duration("POOL_UNUSED_RELEASE_TIMEOUT").value_or(values.pool_idle);
    return values;
}

NodeSettings node(const Reading& variables, const ProxyConfig& proxy) {
    NodeSettings values;
    values.name = variables.text_or("NODE_NAME", host_name());
    values.network = variables.text_or("NETWORK", "");
    auto cluster = proxy.metadata.find("CLUSTER_ID");
    const std::string own = variables.text_or("CLUSTER_ID", values.cluster_id);
    values.cluster_id = cluster != proxy.metadata.end() && !cluster->second.empty() ? cluster->second : own;
    values.trust_domain = variables.text_or("TRUST_DOMAIN", values.trust_domain);
    values.netns = variables.text_or("CULVERT_NODE_NETNS", "");
    return values;
}

bool captures_dns(const ProxyConfig& proxy) {
    auto found = proxy.metadata.find("DNS_CAPTURE");
    if (found == proxy.metadata.end()) return true;
    return std::ranges::equal(found->second, std::string_view{"true"},
                              [](unsigned char a, char b) { return std::tolower(a) == b; });
}

constexpr const char* structured_prefix = "ISTIO_METAJSON_";

bool is_json(const std::string& text) {
    boost::system::error_code bad;
    (void)boost::json::parse(text, bad);
    return !bad;
}

// Both loopbacks, or one address.
std::vector<base::SocketAddress> dns_addresses(const ProxyConfig& proxy) {
    constexpr std::string_view both = "localhost";
    auto found = proxy.metadata.find("DNS_PROXY_ADDR");
    if (found == proxy.metadata.end()) return {};
    std::string first = found->second;
    const bool dual = first.starts_with(both);
    if (dual) first.replace(0, both.size(), "127.0.0.1");
    auto address = base::SocketAddress::parse(first);
    if (!address || address->port == 0)
        throw yaml::Refused{
            fmt::format("ISTIO_META_DNS_PROXY_ADDR: found {}, expected localhost:PORT, or an address "
                        "and a port such as 127.0.0.1:15053",
                        yaml::quoted(found->second))};
    std::vector<base::SocketAddress> all{*address};
    if (dual) all.push_back({*base::IpAddress::parse("::1"), address->port});
    return all;
}

ClusterSettings cluster(const Reading& variables, const ProxyConfig& proxy) {
    ClusterSettings values;
    const std::string otherwise = default_server(variables);
    values.xds = server(variables, "XDS", proxy.discovery_address.value_or(otherwise));
    values.ca = server(variables, "CA", otherwise);
    values.token = variables.text("AUTH_TOKEN").value_or(exists(default_token) ? default_token : "");
    values.pod_name = variables.text_or("POD_NAME", "");
    values.pod_namespace = variables.text_or("POD_NAMESPACE", "");
    values.service_account = variables.text_or("SERVICE_ACCOUNT", "");
    values.instance_ip = variables.text_or("INSTANCE_IP", "1.1.1.1");
    values.metadata = {{"NAME", values.pod_name},
                       {"NAMESPACE", values.pod_namespace},
                       {"INSTANCE_IPS", values.instance_ip},
                       {"NODE_NAME", variables.text_or("NODE_NAME", "")}};
    for (const auto& [key, value] : proxy.metadata) values.metadata[key] = value;
    for (const auto& [key, value] : variables.with_prefix(structured_prefix))
        if (is_json(value)) values.structured_metadata[key] = value;
    auto version = proxy.metadata.find("ISTIO_VERSION");
    values.istio_version = version == proxy.metadata.end() ? "unknown" : version->second;
    values.on_demand = variables.flag("XDS_ON_DEMAND", false);
    values.zds_socket = variables.text_or("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock");
    return values;
}

DoorSettings doors(const ProxyConfig& proxy, bool ipv6) {
    const auto any = base::IpAddress::any(ipv6 ? AF_INET6 : AF_INET);
    DoorSettings values;
    values.metrics = base::SocketAddress{any, proxy.stats_port.value_or(15020)};
    values.ready = base::SocketAddress{any, 15021};
    values.admin = base::SocketAddress{*base::IpAddress::parse("127.0.0.1"), proxy.admin_port.value_or(15000)};
    return values;
}

// JSON is UTF-8, and its parser insists.
bool is_utf8(const std::string& text) {
    return is_json(boost::json::serialize(boost::json::string{text}));
}

// What istiod is told of this node is protobuf's text: with a byte that is no UTF-8 it refuses every stream.
void check_texts(const Reading& variables, const ClusterSettings& cluster) {
    auto check = [&](const std::string& name, const std::string& value) {
        if (!is_utf8(name) || !is_utf8(value))
            throw yaml::Refused{fmt::format("{}: found {}, expected text in UTF-8", name, yaml::quoted(value))};
    };
    for (const char* name : {"POD_NAME", "POD_NAMESPACE", "INSTANCE_IP", "NODE_NAME"})
        check(name, variables.text_or(name, ""));
    for (const auto& [key, value] : cluster.metadata) check("ISTIO_META_" + key, value);
    for (const auto& [key, value] : cluster.structured_metadata) check(structured_prefix + key, value);
}

// The mesh config may have said where istiod is.
void check_servers(const Reading& variables, const ProxyConfig& proxy, const ClusterSettings& cluster) {
    if (cluster.xds.address.empty()) variables.refuse("XDS_ADDRESS", "the address of istiod; or use --config FILE");
    if (cluster.ca.address.empty()) variables.refuse("CA_ADDRESS", "the address of the CA; or use --config FILE");
    const bool from_config = proxy.discovery_address && !variables.text("XDS_ADDRESS");
    if (auto good = grpc::endpoint_of(cluster.xds.address); !good)
        throw yaml::Refused{(from_config ? "discoveryAddress: " : "XDS_ADDRESS: ") + good.error().to_string()};
    if (auto good = grpc::endpoint_of(cluster.ca.address); !good)
        throw yaml::Refused{"CA_ADDRESS: " + good.error().to_string()};
}

// What would weaken or stop us, were it passed over.
void refuse_what_we_cannot(const Reading& variables, const ProxyConfig& proxy, const ClusterSettings& cluster) {
    if (auto mode = variables.text("PROXY_MODE"); mode && *mode != "shared")
        variables.refuse("PROXY_MODE", "shared: a node has one culvertd for all of its pods");
    if (!variables.flag("ENABLE_PROXY", true)) variables.refuse("ENABLE_PROXY", "true: the proxy is what culvertd is");
    if (variables.flag("FAKE_CA", false))
        variables.refuse("FAKE_CA", "false; without a CA run culvertd --config FILE, which has one of its own");
    if (!variables.text_or("COMPLIANCE_POLICY", "").empty())
        variables.refuse("COMPLIANCE_POLICY", "nothing: no policy for key exchange is known here");
    for (const char* name : {"LOCAL_XDS_PATH", "LOCAL_XDS"})
        if (!variables.text_or(name, "").empty())
            variables.refuse(name, "nothing: a mesh in a file is for culvertd --config FILE");
    check_servers(variables, proxy, cluster);
    check_texts(variables, cluster);
    if (cluster.on_demand && captures_dns(proxy))
        variables.refuse("XDS_ON_DEMAND",
                         "false, unless ISTIO_META_DNS_CAPTURE is false: names are answered by a mesh told of whole");
}

std::vector<std::string> notes_of(const Reading& variables, const ProxyConfig& proxy) {
    struct Fixed {
        const char* name;
        const char* value;  // the one that changes nothing
        const char* because;
    };
    constexpr Fixed fixed[] = {
        {"KEEPALIVE_ENABLED", "true", "keepalive is always on"},
        {"PACKET_MARK", "1337", "istio-cni's rules know that mark"},
        {"ENABLE_ORIG_SRC", "true", "apps always see their client's address"},
        {"INPOD_PORT_REUSE", "true", "listeners are taken over, never shared"},
        {"LOCALHOST_APP_TUNNEL", "true", "application tunnels are not supported yet"},
        {"ENABLE_RESPONSE_BAGGAGE", "true", "answers have baggage, and a client's is read"},
        {"TLS12_ENABLED", "false", "peers speak TLS 1.3"},
        {"AUTHZ_POLICY_INFO_LOGGING", "false", "see culvertctl trace"},
        {"UNSTABLE_ENABLE_SOCKS5", "false", "there is no SOCKS5 listener"},
    };
    std::vector<std::string> notes;
    // In a cluster it is the kernel that captures what pods send, and the rules there are istio-cni's.
    for (const auto& address : dns_addresses(proxy))
        if (address.port != istio_cni_dns_port || !address.ip.is_loopback())
            notes.push_back(
                fmt::format("ISTIO_META_DNS_PROXY_ADDR: {} has a meaning only in pods with rules of "
                            "istio-cni, which send questions to port {}; in others we answer whatever "
                            "nameserver is asked",
                            address.to_string(), istio_cni_dns_port));
    for (const auto& [name, value, because] : fixed)
        if (auto found = variables.text(name); found && *found != value)
            notes.push_back(fmt::format("{}={} is not honoured: {}", name, *found, because));
    for (const auto& [key, value] : variables.with_prefix(structured_prefix))
        if (!is_json(value))
            notes.push_back(fmt::format("{}{} is not honoured: it is no JSON", structured_prefix, key));
    return notes;
}

}

base::Result<Environment> read_environment(const Variables& variables, const std::string& mesh_config) {
    try {
        Reading reading{variables};
        const ProxyConfig proxy = proxy_config_of(reading, mesh_config);
        Environment all;
        all.cluster = cluster(reading, proxy);
        refuse_what_we_cannot(reading, proxy, all.cluster);
        all.config.node = node(reading, proxy);
        all.config.ca.directory.clear();
        all.config.ca.crl = reading.text_or("CRL_PATH", "");
        all.config.ca.ttl = std::max<std::chrono::milliseconds>(reading.duration("SECRET_TTL").value_or(24h), 1s);
        all.config.log.level = log_level(reading);
        if (reading.text_or("LOG_FORMAT", "") == "json") all.config.log.format = base::log::Format::json;
        all.config.workers = worker_count(reading, proxy);
        all.config.shutdown_deadline = drain_time(reading);
        all.config.ipv6 = reading.flag("IPV6_ENABLED", true);
        all.config.doors = doors(proxy, all.config.ipv6);
        all.config.dns.on = captures_dns(proxy);
        all.config.dns.redirected_to = dns_addresses(proxy);
        all.config.dns.cluster_domain = reading.text_or("CLUSTER_DOMAIN", "cluster.local");
        all.config.dns.preferred_namespace = reading.text_or("PREFERED_SERVICE_NAMESPACE", "");
        all.config.keepalive = keepalive(reading);
        all.config.transport = transport(reading);
        all.notes = notes_of(reading, proxy);
        return all;
    } catch (const yaml::Refused& refused) {
        return base::problem(refused.text);
    } catch (const std::exception& error) {
        return base::problem(fmt::format("the environment cannot be read: {}", error.what()));
    }
}

}
