// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/environment.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>

#include <unistd.h>

using namespace culvert;
using namespace culvert::control;
using namespace std::chrono_literals;

namespace {

constexpr const char* no_file = "/nonexistent/mesh";

Environment read(const Variables& variables, const std::string& mesh_config = no_file) {
    auto read = read_environment(variables, mesh_config);
    REQUIRE_MESSAGE(read.has_value(), read.error().to_string());
    return std::move(*read);
}

std::string error_of(const Variables& variables) {
    auto read = read_environment(variables, no_file);
    REQUIRE_FALSE(read.has_value());
    return read.error().to_string();
}

class TextFile {
public:
    explicit TextFile(const std::string& text) : path_{"/tmp/culvert-mesh-" + std::to_string(::getpid())} {
        std::ofstream{path_} << text;
    }
    ~TextFile() { std::remove(path_.c_str()); }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

}

TEST_SUITE("control") {

TEST_CASE("environment: nothing set is ztunnel's defaults") {
    const Environment all = read({});
    CHECK(all.cluster.xds.address == "https://localhost:15012");
    CHECK(all.cluster.ca.address == "https://localhost:15012");
    CHECK(all.cluster.xds.roots == "./var/run/secrets/istio/root-cert.pem");
    CHECK(all.cluster.zds_socket == "/var/run/ztunnel/ztunnel.sock");
    CHECK(all.cluster.instance_ip == "1.1.1.1");
    CHECK(all.config.dns == DnsSettings{.on = true});
    CHECK(all.config.node.cluster_id == "Kubernetes");
    CHECK(all.config.node.trust_domain == "cluster.local");
    CHECK(all.config.ca.ttl == 24h);
    CHECK(all.config.shutdown_deadline == 5s);
    CHECK(all.config.keepalive.idle_s == 180);
    CHECK(all.config.keepalive.user_timeout_ms == 0);
    CHECK(all.config.transport.pool_streams == TransportSettings{}.pool_streams);
    CHECK(all.config.transport.stream_window == 4u << 20);
    CHECK(all.config.log.level == base::log::Level::info);
    CHECK(all.config.doors.metrics->port == 15020);
    CHECK(all.config.doors.admin == base::SocketAddress::parse("127.0.0.1:15000"));
    CHECK(all.notes.empty());
    CHECK_FALSE(names_a_cluster({}));
    CHECK(names_a_cluster({{"INPOD_UDS", "/x"}}));
}

TEST_CASE("environment: a pod of the chart's DaemonSet is told everything") {
    const Environment all = read({{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                  {"XDS_ADDRESS", "istiod.istio-system.svc:15012"},
                                  {"CA_ADDRESS", "istiod.istio-system.svc:15012"},
                                  {"NODE_NAME", "n1"},
                                  {"NETWORK", "net1"},
                                  {"ISTIO_META_CLUSTER_ID", "west"},
                                  {"CLUSTER_ID", "not this"},
                                  {"ISTIO_META_DNS_CAPTURE", "True"},
                                  {"ISTIO_META_ISTIO_VERSION", "1.32"},
                                  {"POD_NAME", "ztunnel-x"},
                                  {"POD_NAMESPACE", "istio-system"},
                                  {"SERVICE_ACCOUNT", "ztunnel"},
                                  {"INSTANCE_IP", "10.0.0.9"},
                                  {"TERMINATION_GRACE_PERIOD_SECONDS", "30"},
                                  {"XDS_HEADER_X-TENANT", "blue"},
                                  {"AUTH_TOKEN", "word"},
                                  {"RUST_LOG", "warn,access=debug"},
                                  {"LOG_FORMAT", "json"}});
    CHECK(all.cluster.xds.address == "https://istiod.istio-system.svc:15012");
    CHECK(all.cluster.xds.headers == std::map<std::string, std::string>{{"X-TENANT", "blue"}});
    CHECK(all.cluster.ca.headers.empty());
    CHECK(all.cluster.token == "word");
    CHECK(all.cluster.istio_version == "1.32");
    CHECK(all.cluster.metadata == std::map<std::string, std::string>{{"CLUSTER_ID", "west"},
                                                                     {"DNS_CAPTURE", "True"},
                                                                     {"ISTIO_VERSION", "1.32"},
                                                                     {"INSTANCE_IPS", "10.0.0.9"},
                                                                     {"NAME", "ztunnel-x"},
                                                                     {"NAMESPACE", "istio-system"},
                                                                     {"NODE_NAME", "n1"}});
    CHECK(all.config.node == NodeSettings{"n1", "net1", "west", "cluster.local"});
    CHECK(all.config.shutdown_deadline == 25s);
    CHECK(all.config.log.level == base::log::Level::warn);
    CHECK(all.config.log.format == base::log::Format::json);
}

TEST_CASE("environment: the mesh config's file, PROXY_CONFIG and variables win over each other in this order") {
    const TextFile file{R"(
rootNamespace: istio-system
defaultConfig:
  discoveryAddress: from-file:1
  statsPort: 1111
  proxyAdminPort: 2222
  concurrency: 3
  tracing: {}
  proxyMetadata: {ISTIO_META_A: file, B: file, C: file}
)"};
    const std::string proxy_config =
        R"({"discoveryAddress": "from-variable:2", "proxyMetadata": {"B": "config", "C": "config"}})";
    const Environment all = read({{"PROXY_CONFIG", proxy_config}, {"ISTIO_META_C", "own"}}, file.path());
    CHECK(all.cluster.xds.address == "https://from-variable:2");
    CHECK(all.config.doors.metrics->port == 1111);
    CHECK(all.config.doors.admin->port == 2222);
    CHECK(all.config.workers == 3);
    CHECK(all.cluster.metadata.at("A") == "file");
    CHECK(all.cluster.metadata.at("B") == "config");
    CHECK(all.cluster.metadata.at("C") == "own");
    CHECK(read({{"PROXY_CONFIG", ""}, {"XDS_ADDRESS", "http://own:3"}}, file.path()).cluster.xds.address ==
          "http://own:3");
    const TextFile bad{"defaultConfig: [1]\n"};
    auto refused = read_environment({}, bad.path());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().to_string() == bad.path() + ":1: defaultConfig: found a list, expected a mapping");
}

TEST_CASE("environment: metadata that is JSON is kept apart, and what is none is named") {
    const Environment all = read({{"ISTIO_METAJSON_LABELS", R"({"app": "z", "n": [1, true, null]})"},
                                  {"ISTIO_METAJSON_BROKEN", "{app: z}"},
                                  {"ISTIO_META_LABELS", "text"}});
    CHECK(all.cluster.structured_metadata ==
          std::map<std::string, std::string>{{"LABELS", R"({"app": "z", "n": [1, true, null]})"}});
    CHECK(all.cluster.metadata.at("LABELS") == "text");
    CHECK(all.notes == std::vector<std::string>{"ISTIO_METAJSON_BROKEN is not honoured: it is no JSON"});
}

TEST_CASE("environment: an address for DNS is both loopbacks or one, and said to be of no use where it is") {
    auto addresses = [](const std::string& text) {
        std::string all;
        for (const auto& each : read({{"ISTIO_META_DNS_PROXY_ADDR", text}}).config.dns.redirected_to)
            all += each.to_string() + " ";
        return all;
    };
    CHECK(addresses("localhost:15054") == "127.0.0.1:15054 [::1]:15054 ");
    CHECK(addresses("127.0.0.1:15053") == "127.0.0.1:15053 ");
    CHECK(addresses("[::1]:53") == "[::1]:53 ");
    CHECK(read({}).config.dns.redirected_to.empty());
    CHECK(read({{"ISTIO_META_DNS_PROXY_ADDR", "localhost:15053"}}).notes.empty());
    const auto notes = read({{"ISTIO_META_DNS_PROXY_ADDR", "127.0.0.1:5300"}}).notes;
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].starts_with("ISTIO_META_DNS_PROXY_ADDR: 127.0.0.1:5300 has a meaning only in pods with rules"));
    for (const char* bad : {"", "localhost", "localhost:0", "localhost:x", "15053", "1.2.3.4"})
        CHECK(error_of({{"ISTIO_META_DNS_PROXY_ADDR", bad}}).starts_with("ISTIO_META_DNS_PROXY_ADDR: found \""));
}

TEST_CASE("environment: without IPv6 nobody is to listen on it") {
    const Environment without = read({{"IPV6_ENABLED", "false"}});
    CHECK_FALSE(without.config.ipv6);
    CHECK(without.config.doors.metrics->to_string() == "0.0.0.0:15020");
    CHECK(without.config.doors.ready->to_string() == "0.0.0.0:15021");
    CHECK(without.notes.empty());
    CHECK(read({}).config.ipv6);
    CHECK(read({}).config.doors.metrics->to_string() == "[::]:15020");
}

TEST_CASE("environment: workers are counted as ztunnel counts its threads") {
    auto workers = [](Variables variables) {
        variables.emplace("ZTUNNEL_CPU_LIMIT", "16");
        return read(variables).config.workers;
    };
    CHECK(workers({}) == 4);  // a quarter
    CHECK(workers({{"ZTUNNEL_WORKER_THREADS", "0"}}) == 16);
    CHECK(workers({{"ZTUNNEL_WORKER_THREADS", "7"}}) == 7);
    CHECK(workers({{"ZTUNNEL_WORKER_THREADS", "30%"}}) == 5);
    CHECK(workers({{"PROXY_CONFIG", "{concurrency: 0}"}}) == 16);
    CHECK(workers({{"ZTUNNEL_RESOURCE_CPU_LIMIT", "1500m"}}) == 2);
    CHECK(workers({{"ZTUNNEL_RESOURCE_CPU_LIMIT", "1"}}) == 1);
    CHECK(workers({{"ZTUNNEL_RESOURCE_CPU_LIMIT", "1"}, {"ZTUNNEL_RESOURCE_CPU_REQUEST", "2.2"}}) == 3);
    CHECK(workers({{"ZTUNNEL_RESOURCE_CPU_REQUEST", "6"}}) == 6);
}

TEST_CASE("environment: times are sums, and drain time follows the pod's grace period") {
    CHECK(read({{"SECRET_TTL", "1h30m"}}).config.ca.ttl == 90min);
    CHECK(read({{"SECRET_TTL", "2m 30s"}}).config.ca.ttl == 150s);
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "10"}}).config.shutdown_deadline == 9s);
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "0"}}).config.shutdown_deadline == 1s);
    CHECK(read({{"CONNECTION_TERMINATION_DEADLINE", "250ms"}, {"TERMINATION_GRACE_PERIOD_SECONDS", "30"}})
              .config.shutdown_deadline == 250ms);
    CHECK(read({{"USER_TIMEOUT_ENABLED", "true"}}).config.keepalive.user_timeout_ms == 1'800'000);
}

TEST_CASE("environment: a value that cannot be read is named with its variable") {
    CHECK(error_of({{"XDS_ON_DEMAND", "yes"}}) == "XDS_ON_DEMAND: found \"yes\", expected true or false");
    CHECK(error_of({{"SECRET_TTL", "24"}}) ==
          "SECRET_TTL: found \"24\", expected a time such as \"100ms\", \"90s\", \"5m\" or \"24h\"");
    CHECK(error_of({{"KEEPALIVE_RETRIES", "128"}}) ==
          "KEEPALIVE_RETRIES: found \"128\", expected a number from 1 to 127");
    CHECK(error_of({{"ZTUNNEL_CPU_LIMIT", "many"}}).starts_with("ZTUNNEL_CPU_LIMIT: found \"many\", expected cores"));
    CHECK(error_of({{"PROXY_CONFIG", "{concurrency: x}"}}) ==
          "PROXY_CONFIG:1: concurrency: found \"x\", expected a number from 0 to 1024");
}

TEST_CASE("environment: an address of a server that is none is named with who said it") {
    CHECK(
        error_of({{"XDS_ADDRESS", "istiod:99999"}}).starts_with("XDS_ADDRESS: \"https://istiod:99999\" is no address"));
    CHECK(error_of({{"CA_ADDRESS", "ftp://ca"}}).starts_with("CA_ADDRESS: \"ftp://ca\" is no address"));
    const std::string config = "{discoveryAddress: 'istiod:x'}";
    CHECK(error_of({{"PROXY_CONFIG", config}}).starts_with("discoveryAddress: \"https://istiod:x\" is no address"));
    CHECK(read({{"PROXY_CONFIG", config}, {"XDS_ADDRESS", "istiod:1"}}).cluster.xds.address == "https://istiod:1");
}

TEST_CASE("environment: what istiod would refuse for its bytes is refused at the start") {
    for (const char* bad : {"caf\xe9", "\xff", "\xc0\xaf", "\xed\xa0\x80", "half \xe2\x82"}) {
        CAPTURE(bad);
        for (const char* name : {"ISTIO_META_OWNER", "POD_NAME", "INSTANCE_IP"})
            CHECK(error_of({{name, bad}}).starts_with(std::string{name} + ": found "));
    }
    CHECK(error_of({{"ISTIO_META_A\xff", "a"}}).ends_with(", expected text in UTF-8"));
    CHECK(read({{"ISTIO_META_OWNER", "caf\xc3\xa9 \"\\ \xf0\x9f\x90\x9f"}}).cluster.metadata.at("OWNER") ==
          "caf\xc3\xa9 \"\\ \xf0\x9f\x90\x9f");
}

TEST_CASE("environment: what would weaken the node is refused, what merely does nothing is named once") {
    CHECK(error_of({{"PROXY_MODE", "dedicated"}}).starts_with("PROXY_MODE: found \"dedicated\", expected shared"));
    CHECK(error_of({{"FAKE_CA", "true"}}).starts_with("FAKE_CA: "));
    CHECK(error_of({{"COMPLIANCE_POLICY", "pqc"}}).starts_with("COMPLIANCE_POLICY: "));
    CHECK(error_of({{"XDS_ADDRESS", ""}}).starts_with("XDS_ADDRESS: "));
    CHECK(error_of({{"LOCAL_XDS_PATH", "/f"}}).starts_with("LOCAL_XDS_PATH: "));
    CHECK(error_of({{"XDS_ON_DEMAND", "true"}}).starts_with("XDS_ON_DEMAND: "));
    CHECK(read({{"XDS_ON_DEMAND", "true"}, {"ISTIO_META_DNS_CAPTURE", "false"}}).cluster.on_demand);
    CHECK_FALSE(read({}).cluster.on_demand);
    CHECK(read({{"TLS12_ENABLED", "true"}, {"PACKET_MARK", "1337"}}).notes ==
          std::vector<std::string>{"TLS12_ENABLED=true is not honoured: peers speak TLS 1.3"});
}

}
