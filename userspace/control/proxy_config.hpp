// SPDX-License-Identifier: Apache-2.0
// Istio's ProxyConfig, as far as a node proxy reads it: of the mesh config's file, and over it of PROXY_CONFIG.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace culvert::control {

struct ProxyConfig {
    std::optional<std::string> discovery_address;
    std::optional<std::uint16_t> admin_port;
    std::optional<std::uint16_t> stats_port;
    std::optional<std::uint32_t> concurrency;  // 0: one per core
    std::map<std::string, std::string> metadata;
};

// Keys that are not known are left alone, as Istio does. Both throw yaml::Refused: `name` is what that calls the text.
ProxyConfig parse_proxy_config(const std::string& text, const std::string& name);
// The defaultConfig of a mesh config; nothing where the file is not there.
ProxyConfig read_mesh_config(const std::string& file);

// What `over` says wins; metadata of both.
ProxyConfig merged(ProxyConfig under, const ProxyConfig& over);

}
