// SPDX-License-Identifier: Apache-2.0
// What is wrong with a resource, in words that name the place. Good ones: replay_test.cpp.
#include <xds/decode.hpp>

#include <doctest/doctest.h>

#include <functional>

#include "say.hpp"

using namespace culvert;
using xds::Kind;

namespace {

std::string reason(Kind kind, const std::string& name, const std::string& bytes) {
    auto resource = xds::decode(kind, name, bytes);
    return resource ? "fine" : resource.error().to_string();
}

template <class T>
struct Row {
    const char* name;
    std::function<void(T&)> change;
    const char* reason;
};

template <class T>
void check(const T& good, Kind kind, std::initializer_list<Row<T>> rows) {
    CHECK(reason(kind, say::name(good), say::bytes(good)) == "fine");
    for (const auto& row : rows) {
        CAPTURE(row.name);
        T value = good;
        row.change(value);
        CHECK(reason(kind, say::name(value), say::bytes(value)) == row.reason);
    }
}

const std::string ip4{"\x0a\x01\x02\x03"};

}

TEST_SUITE("xds") {

TEST_CASE("decode: workloads that are refused, and why") {
    using W = istio::workload::Workload;
    check<W>(
        say::workload("w"), Kind::address,
        {{"no uid", [](W& w) { w.clear_uid(); }, "it has no uid"},
         {"five bytes", [](W& w) { w.add_addresses("12345"); }, "addresses[1] has 5 bytes; an address has 4 or 16"},
         {"no bytes", [](W& w) { w.add_addresses(""); }, "addresses[1] has 0 bytes; an address has 4 or 16"},
         {"tunnel", [](W& w) { w.set_tunnel_protocol(istio::workload::TunnelProtocol(9)); },
          "tunnel_protocol is 9, which this version does not know"},
         {"a sidecar", [](W& w) { w.set_tunnel_protocol(istio::workload::LEGACY_ISTIO_MTLS); }, "fine"},
         {"type", [](W& w) { w.set_workload_type(istio::workload::WorkloadType(4)); },
          "workload_type is 4, which this version does not know"},
         {"status", [](W& w) { w.set_status(istio::workload::WorkloadStatus(2)); },
          "status is 2, which this version does not know"},
         {"network mode", [](W& w) { w.set_network_mode(istio::workload::NetworkMode(2)); },
          "network_mode is 2, which this version does not know"},
         {"a service without namespace", [](W& w) { (*w.mutable_services())["host"]; },
          "services names \"host\", which is not <namespace>/<hostname>"},
         {"a service with two slashes", [](W& w) { (*w.mutable_services())["a/b/c"]; },
          "services names \"a/b/c\", which is not <namespace>/<hostname>"},
         {"a port of none", [](W& w) { (*w.mutable_services())["a/b"].add_ports(); },
          "services.a/b: service_port is 0, which is no port"},
         {"a large port",
          [](W& w) {
              auto* port = (*w.mutable_services())["a/b"].add_ports();
              port->set_service_port(80);
              port->set_target_port(65616);
          },
          "services.a/b: target_port is 65616, which is no port"},
         {"a waypoint nowhere", [](W& w) { w.mutable_waypoint()->set_hbone_mtls_port(15008); },
          "waypoint has neither host name nor address"},
         {"a waypoint without port", [](W& w) { w.mutable_waypoint()->mutable_hostname(); },
          "waypoint.hbone_mtls_port is 0, which is no port"},
         {"a gateway of three bytes",
          [](W& w) {
              w.mutable_network_gateway()->set_hbone_mtls_port(15008);
              w.mutable_network_gateway()->mutable_address()->set_address("123");
          },
          "network_gateway.address has 3 bytes; an address has 4 or 16"},
         {"an application tunnel",
          [](W& w) { w.mutable_application_tunnel()->set_protocol(istio::workload::ApplicationTunnel::Protocol(2)); },
          "application_tunnel.protocol is 2, which this version does not know"}});
}

TEST_CASE("decode: services that are refused, and why") {
    using S = istio::workload::Service;
    check<S>(
        say::service("host"), Kind::address,
        {{"no host", [](S& s) { s.clear_hostname(); }, "\"ns/\" is not <namespace>/<hostname>"},
         {"no namespace", [](S& s) { s.clear_namespace_(); }, "\"/host\" is not <namespace>/<hostname>"},
         {"a slash", [](S& s) { s.set_hostname("a/b"); }, "\"ns/a/b\" is not <namespace>/<hostname>"},
         {"an address", [](S& s) { s.add_addresses(); }, "addresses has 0 bytes; an address has 4 or 16"},
         {"a length",
          [](S& s) {
              s.add_addresses()->set_address(ip4);
              s.mutable_addresses(0)->set_length(33);
          },
          "addresses has a length of 33 in 10.1.2.3"},
         {"a port", [](S& s) { s.mutable_ports(0)->set_service_port(1 << 16); },
          "service_port is 65536, which is no port"},
         {"families", [](S& s) { s.set_ip_families(istio::workload::IPFamilies(4)); },
          "ip_families is 4, which this version does not know"},
         {"a scope", [](S& s) { s.mutable_load_balancing()->add_routing_preference({}); },
          "load_balancing.routing_preference is 0, which this version does not know"},
         {"a mode", [](S& s) { s.mutable_load_balancing()->set_mode(istio::workload::LoadBalancing::Mode(4)); },
          "load_balancing.mode is 4, which this version does not know"},
         {"a health policy",
          [](S& s) { s.mutable_load_balancing()->set_health_policy(istio::workload::LoadBalancing::HealthPolicy(2)); },
          "load_balancing.health_policy is 2, which this version does not know"},
         {"a visibility that nobody knows is public",
          [](S& s) { s.set_visibility(istio::workload::Service::Visibility(7)); }, "fine"},
         {"a weighted waypoint", [](S& s) { s.add_weighted_waypoints(); },
          "weighted_waypoints.destination.hbone_mtls_port is 0, which is no port"}});
    CHECK(reason(Kind::address, "", "") == "it is neither workload nor service");
}

TEST_CASE("decode: a policy with an entry that is not understood is refused whole") {
    using A = istio::security::Authorization;
    auto match = [](A& a) { return a.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0); };
    check<A>(say::policy("p"), Kind::authorization,
             {{"no name", [](A& a) { a.clear_name(); }, "it has no name or no namespace"},
              {"no namespace", [](A& a) { a.clear_namespace_(); }, "it has no name or no namespace"},
              {"scope", [](A& a) { a.set_scope(istio::security::Scope(3)); },
               "scope is 3, which this version does not know"},
              {"action", [](A& a) { a.set_action(istio::security::Action(2)); },
               "action is 2, which this version does not know"},
              {"an empty string match", [&](A& a) { match(a)->add_not_principals(); },
               "rules[0].clauses[0].matches[0].not_principals[0] says not how it matches"},
              {"a long prefix",
               [&](A& a) {
                   match(a)->add_destination_ips()->set_address(ip4);
                   match(a)->mutable_destination_ips(0)->set_length(33);
               },
               "rules[0].clauses[0].matches[0].destination_ips[0] is no address range: 4 bytes, a length of 33"},
              {"a port", [&](A& a) { match(a)->add_not_destination_ports(70000); },
               "rules[0].clauses[0].matches[0].not_destination_ports[0] is 70000, no port"},
              {"deep inside", [&](A& a) { a.add_rules()->add_clauses()->add_matches()->add_namespaces(); },
               "rules[1].clauses[0].matches[0].namespaces[0] says not how it matches"}});
    CHECK(reason(Kind::authorization, "ns/p", "\xff") == "its bytes are no istio.security.Authorization");
}

TEST_CASE("decode: names that cannot be SPIFFE ids are left out, for nobody has them") {
    auto service = say::service("host");
    service.add_subject_alt_names("spiffe://td/ns/a/sa/b");
    service.add_subject_alt_names("dns:host");
    auto resource = xds::decode(Kind::address, "ns/host", say::bytes(service));
    REQUIRE(resource.has_value());
    CHECK(std::get<state::Service>(*resource).subject_alt_names == std::vector<std::string>{"spiffe://td/ns/a/sa/b"});
}

}
