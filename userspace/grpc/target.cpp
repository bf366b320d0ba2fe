// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/target.hpp>

#include <fmt/format.h>

#include <charconv>

namespace culvert::grpc {

namespace {

base::Error bad(std::string_view address, std::string_view why) {
    return base::problem(
        fmt::format("\"{}\" is no address of a gRPC server: {}; write https://host:port, or "
                    "http://host:port for plaintext",
                    address, why));
}

bool is_host_character(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_' || c == ':' || c == '%';
}

}

std::string Endpoint::authority() const {
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

std::string in_words(const Token& token) {
    if (const auto* file = std::get_if<TokenFile>(&token)) return "the one in " + file->path;
    return std::holds_alternative<TokenText>(token) ? "the one given as text" : "none was sent";
}

base::Result<Endpoint> endpoint_of(std::string_view address) {
    Endpoint endpoint;
    std::string_view rest = address;
    if (std::size_t scheme = rest.find("://"); scheme != rest.npos) {
        const std::string_view name = rest.substr(0, scheme);
        if (name != "https" && name != "http") return bad(address, fmt::format("its scheme is {}", name));
        endpoint.tls = name == "https";
        rest.remove_prefix(scheme + 3);
    }
    endpoint.port = endpoint.tls ? 443 : 80;
    if (std::size_t path = rest.find('/'); path != rest.npos) {
        if (path + 1 != rest.size()) return bad(address, "it has a path");
        rest.remove_suffix(1);
    }

    std::string_view port;
    if (rest.starts_with('[')) {
        std::size_t end = rest.find(']');
        if (end == rest.npos) return bad(address, "a bracket stays open");
        endpoint.host = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
        if (!rest.empty() && !rest.starts_with(':')) return bad(address, "a port comes behind a colon");
        port = rest;
    } else {
        std::size_t colon = rest.find(':');
        if (colon != rest.rfind(':')) return bad(address, "an IPv6 address stands in brackets");
        endpoint.host = rest.substr(0, colon);
        if (colon != rest.npos) port = rest.substr(colon);
    }
    if (endpoint.host.empty()) return bad(address, "it has no host");
    for (char c : endpoint.host)
        if (!is_host_character(c)) return bad(address, "its host is no name");
    if (port.empty()) return endpoint;
    port.remove_prefix(1);
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (error != std::errc{} || end != port.data() + port.size() || endpoint.port == 0)
        return bad(address, "its port is no number from 1 to 65535");
    return endpoint;
}

}
