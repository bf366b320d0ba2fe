// SPDX-License-Identifier: Apache-2.0
// What istio-cni writes into the network namespaces of pods, and beside them on their node: recorded from it
// (tests/support/istio_cni), put in by the programs that it runs.
#pragma once
#include <string>
#include <vector>

#include "lab.hpp"

namespace culvert::test {

enum class Iptables { nft, legacy };

void write_istio_rules(const Pod& pod, Iptables kind = Iptables::nft);
void remove_istio_rules(const Pod& pod, Iptables kind = Iptables::nft);
// All that there is of them in a pod, without counters; the same as long as nobody touches it.
std::vector<std::string> istio_rules_in(const Pod& pod, Iptables kind = Iptables::nft);
// How many packets a rule has met; the first of the chain that ends so.
unsigned long met(const Pod& pod, Family family, const std::string& chain, const std::string& end);

// By which the node's own calls to its pods are told from other traffic, as long as this lives.
class IstioProbes {
public:
    IstioProbes(const Lab& lab, const std::vector<const Pod*>& pods);
    ~IstioProbes();
    IstioProbes(const IstioProbes&) = delete;
    static IpAddress seen_from(Family family);

private:
    int netns_;
    std::vector<std::vector<std::string>> rules_;
};

}
