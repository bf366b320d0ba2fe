// SPDX-License-Identifier: Apache-2.0
// Why a peer's tunnel was refused or cut: one list makes the enum, the metric's label and the words of the log.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace culvert::telemetry {

#define CULVERT_PEER_FAULTS(X)                                                             \
    X(timeout, "TLS or the beginning of HTTP/2 not done in time")                          \
    X(tls, "TLS that we do not speak, garbage, or given up in the middle")                 \
    X(certificate, "no certificate, or one that is not valid")                             \
    X(revoked, "a certificate that is revoked")                                            \
    X(identity, "a certificate of another trust domain or name")                           \
    X(http2, "the rules of HTTP/2 broken")                                                 \
    X(flood, "more frames or header blocks than a tunnel has use for")                     \
    X(over_limit, "more tunnels or handshakes than a source, a pod or this node may have") \
    X(request, "a request that we do not serve")                                           \
    X(lost, "gone in the middle: the connection broke, or no PING was answered")

enum class PeerFault : std::uint8_t {
#define X(name, text) name,
    CULVERT_PEER_FAULTS(X)
#undef X
};
inline constexpr std::size_t peer_fault_count = 0
#define X(name, text) +1
    CULVERT_PEER_FAULTS(X)
#undef X
    ;

std::string_view to_string(PeerFault) noexcept;    // the name: metric label
std::string_view description(PeerFault) noexcept;  // the words

}
