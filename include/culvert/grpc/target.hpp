// SPDX-License-Identifier: Apache-2.0
// Where a server is, how it proves itself, and what we say of ourselves with each call.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <culvert/base/result.hpp>

namespace culvert::grpc {

// A file is read anew at each connection, so that new roots need no restart.
struct SystemRoots {};
struct RootsFile {
    std::string path;
};
struct RootsText {
    std::string pem;
};
using Roots = std::variant<SystemRoots, RootsFile, RootsText>;

// The bearer of each call. A file is read anew at each of them: the kubelet replaces it.
struct NoToken {};
struct TokenFile {
    std::string path;
};
struct TokenText {
    std::string text;
};
using Token = std::variant<NoToken, TokenFile, TokenText>;
std::string in_words(const Token& token);  // where it is from: "the one in FILE"; never the token

struct Target {
    std::string address;  // "https://istiod.istio-system.svc:15012"; https where no scheme is said; http is plaintext
    Roots roots;
    std::string alternative_hostname;  // as good in the server's certificate as the address's own; may be empty
    Token token;
    std::string cluster_id;                                    // "clusterid"; empty is not sent
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
};

// What an address says.
struct Endpoint {
    bool tls = true;
    std::string host;  // without brackets
    std::uint16_t port = 443;

    std::string authority() const;  // "istiod.istio-system.svc:15012", "[fd00::7]:15012"
};

base::Result<Endpoint> endpoint_of(std::string_view address);

struct Limits {
    std::size_t message_bytes = 200u << 20;  // of one message that we hear
    std::int32_t window_bytes = 256 << 10;   // on the way to us, and not read yet
    std::chrono::milliseconds connect{5'000};
    std::chrono::milliseconds handshake{10'000};
    std::chrono::milliseconds ping_after{30'000};  // of silence
    std::chrono::milliseconds ping_answer{10'000};
    std::chrono::milliseconds keep_idle{10'000};  // a connection of unary calls without one
};

}
