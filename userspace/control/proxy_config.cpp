// SPDX-License-Identifier: Apache-2.0
#include "proxy_config.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "yaml.hpp"

namespace culvert::control {

using namespace yaml;

namespace {

template <class T>
Reader optional(std::optional<T>& into, Reader (*of)(T&)) {
    T nowhere{};
    std::string expected = of(nowhere).expected;
    return or_null({std::move(expected), [&into, of](const Cursor& at) {
                        T value{};
                        of(value).read(at);
                        into = std::move(value);
                    }});
}

Reader threads(std::uint32_t& into) {
    return number(into, 0, 1024);
}

Reader proxy_config(ProxyConfig& into) {
    return section([&into](const Cursor& at) {
        auto metadata = [&into](const Cursor& mapping) {
            mapping.entries([&](const Cursor& key, const Cursor& value) { into.metadata[key.text()] = value.text(); });
        };
        at.fields({{"discoveryAddress", optional(into.discovery_address, text)},
                   {"proxyAdminPort", optional(into.admin_port, port)},
                   {"statsPort", optional(into.stats_port, port)},
                   {"concurrency", optional(into.concurrency, threads)},
                   {"proxyMetadata", or_null(section(metadata))}},
                  Unknown::ignored);
    });
}

YAML::Node load(const std::string& text, const std::string& name) {
    try {
        return YAML::Load(text);
    } catch (const YAML::Exception& error) {
        throw Refused{fmt::format("{}:{}: not YAML: {}", name, error.mark.line + 1, error.msg)};
    }
}

}

ProxyConfig parse_proxy_config(const std::string& text, const std::string& name) {
    ProxyConfig config;
    if (text.empty()) return config;
    YAML::Node root = load(text, name);
    or_null(proxy_config(config)).read(Cursor{name, root});
    return config;
}

ProxyConfig read_mesh_config(const std::string& file) {
    ProxyConfig config;
    std::ifstream stream{file};
    if (!stream) {
        if (errno == ENOENT || errno == ENOTDIR) return config;
        throw Refused{fmt::format("cannot read {}: {}", file, std::strerror(errno))};
    }
    std::stringstream text;
    text << stream.rdbuf();
    YAML::Node root = load(text.str(), file);
    auto mesh = section([&](const Cursor& at) {
        at.fields({{"defaultConfig", or_null(proxy_config(config))}}, Unknown::ignored);
    });
    or_null(mesh).read(Cursor{file, root});
    return config;
}

ProxyConfig merged(ProxyConfig under, const ProxyConfig& over) {
    if (over.discovery_address) under.discovery_address = over.discovery_address;
    if (over.admin_port) under.admin_port = over.admin_port;
    if (over.stats_port) under.stats_port = over.stats_port;
    if (over.concurrency) under.concurrency = over.concurrency;
    for (const auto& [key, value] : over.metadata) under.metadata[key] = value;
    return under;
}

}
