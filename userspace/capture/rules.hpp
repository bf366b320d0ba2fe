// SPDX-License-Identifier: Apache-2.0
// The rules that istio-cni writes, with or without its DNS ones, as texts for iptables-restore; and what iptables-save
// says, read back. Texts are in the form in which iptables-save prints them, so that the two can be compared line by
// line.
//
//   pod, mangle   PREROUTING -> ISTIO_PRERT    the proxy's own legs get a connection mark
//                 OUTPUT     -> ISTIO_OUTPUT   answers to them get it as their mark, and are routed to lo by it
//   pod, nat      PREROUTING -> ISTIO_PRERT    from outside: to port 15006, but tunnels to 15008 and probes to the app
//                 OUTPUT     -> ISTIO_OUTPUT   from the app: to port 15001, but what stays inside the pod
//   pod, raw      both hooks                   with DNS: our own questions have a zone of conntrack, apart from the
//   app's node, nat     POSTROUTING -> ISTIO_POSTRT  what the node's own processes send to pods of the mesh, probes
//   among it,
//                                              comes from an address by which the pod tells it from forwarded traffic
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <culvert/bpf/marks.h>
#include <culvert/state/exclusions.hpp>

namespace culvert::capture {

constexpr std::uint16_t outbound_port = CV_OUTBOUND_PORT;
constexpr std::uint16_t inbound_plain_port = CV_INBOUND_PORT;
constexpr std::uint16_t dns_port = 15053;
constexpr std::uint16_t tunnel_port = CV_TUNNEL_PORT;

// Between the CNI's rules and the main table, as istio-cni has it.
constexpr std::uint32_t mark_rule_priority = 32764;

// What one pod's rules differ in from another's.
struct RulesOfPod {
    std::vector<std::string> virtual_interfaces = {};
    state::Exclusions exclusions = {};
    bool dns = false;  // its questions go to dns_port
};

std::string pod_rules(int family, const RulesOfPod& pod);
std::string node_rules(int family);

// The set of pods' addresses that node_rules() looks into.
std::string_view probe_set(int family) noexcept;
std::string_view probe_source(int family) noexcept;

// Drops TCP and UDP while rules are replaced: half of them must not let anything past.
std::string guard_rules();

// A pod's chains or the node's; those of the other place are not looked at.
enum class Place { pod, node };

// Whether the tables of `saved` hold exactly the rules of `wanted` in Istio's chains, each hooked once.
bool holds(const std::string& saved, const std::string& wanted, Place place);
// The text that makes a pod's rules the wanted ones, a table at a time, where only rules of our chains differ; else
// empty.
std::string exchange_rules(const std::string& saved, const std::string& wanted);
// Whether there is anything of Istio's chains, or a guard of ours.
bool has_traces(const std::string& saved, Place place);

// Whether ISTIO_POSTRT is what POSTROUTING asks first.
bool comes_first(const std::string& saved);

// The first table of `wanted` into which another tool (nft) has put rules that iptables has no words for: nothing of it
// is in `saved`, ours included. Empty where there is none.
std::string unreadable_table(const std::string& saved, const std::string& wanted);

// Texts that take things out again; empty when there is nothing of it.
std::string without_redirects(const std::string& saved);            // nat's hooks in a pod
std::string without_chains(const std::string& saved, Place place);  // hooks, rules and chains
std::string without_guard(const std::string& saved);

}
