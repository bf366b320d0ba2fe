// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/exclusions.hpp>

#include <algorithm>

#include <fmt/format.h>

namespace culvert::state {
namespace {

template <class T>
void unite(std::vector<T>& into, const std::vector<T>& others) {
    into.insert(into.end(), others.begin(), others.end());
    std::ranges::sort(into);
    into.erase(std::unique(into.begin(), into.end()), into.end());  // clang 14 has no std::ranges::unique
}

std::string ports(const std::vector<std::uint16_t>& all) {
    if (all.empty()) return {};
    return fmt::format("{} {}", all.size() == 1 ? "port" : "ports", fmt::join(all, ", "));
}

std::string ranges(const std::vector<Cidr>& all) {
    std::string text;
    for (const Cidr& range : all) text += (text.empty() ? "" : ", ") + range.to_string();
    return text;
}

std::string joined(const std::string& first, const std::string& second) {
    return first + (first.empty() || second.empty() ? "" : " and ") + second;
}

}

void Exclusions::add(const Exclusions& others) {
    unite(outbound_ports, others.outbound_ports);
    unite(outbound_cidrs, others.outbound_cidrs);
    unite(inbound_ports, others.inbound_ports);
}

std::string Exclusions::to_string() const {
    if (empty()) return "nothing bypasses the mesh";
    std::string outbound = joined(ports(outbound_ports), ranges(outbound_cidrs)), inbound = ports(inbound_ports);
    if (!outbound.empty()) outbound.insert(0, "outbound ");
    if (!inbound.empty()) inbound.insert(0, "inbound ");
    bool one = outbound_ports.size() + outbound_cidrs.size() + inbound_ports.size() == 1;
    return fmt::format("{} {} the mesh", joined(outbound, inbound), one ? "bypasses" : "bypass");
}

namespace {

bool has(const std::vector<std::uint16_t>& all, std::uint16_t port) {
    return port != 0 && std::ranges::find(all, port) != all.end();
}

}

std::optional<std::string> Exclusions::bypass_outbound(const base::SocketAddress& target) const {
    Exclusions one;
    if (has(outbound_ports, target.port)) {
        one.outbound_ports = {target.port};
        return one.to_string();
    }
    for (const Cidr& range : outbound_cidrs) {
        if (!range.contains(target.ip)) continue;
        one.outbound_cidrs = {range};
        return one.to_string();
    }
    return std::nullopt;
}

std::optional<std::string> Exclusions::bypass_inbound(std::uint16_t port) const {
    if (!has(inbound_ports, port)) return std::nullopt;
    Exclusions one;
    one.inbound_ports = {port};
    return one.to_string();
}

}
