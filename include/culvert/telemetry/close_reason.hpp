// SPDX-License-Identifier: Apache-2.0
// Why a connection ended: one list makes the enum, the metric's label and the row in docs/DEBUGGING.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace culvert::telemetry {

#define CULVERT_CLOSE_REASONS(X)                                                             \
    X(ok, "both directions ended")                                                           \
    X(no_route, "nobody healthy behind the service, or a call to the mesh's own ports")      \
    X(not_ready, "the pod's certificate or workload is not here")                            \
    X(connect_failed, "the next hop or the app refused, or did not answer in time")          \
    X(handshake_failed, "TLS or HTTP/2 could not be set up with the peer")                   \
    X(refused_by_peer, "the peer answered the CONNECT with an error status")                 \
    X(bad_request, "a CONNECT that we do not serve: wrong method, authority or destination") \
    X(denied, "a policy refuses the connection")                                             \
    X(policy_changed, "a policy or the workload changed, and what was allowed is not now")   \
    X(broken, "the connection or its tunnel failed while bytes were flowing")                \
    X(drained, "this daemon or the pod was ending")                                          \
    X(over_limit, "a limit of this node was reached")

enum class CloseReason : std::uint8_t {
#define X(name, text) name,
    CULVERT_CLOSE_REASONS(X)
#undef X
};
inline constexpr std::size_t close_reason_count = 0
#define X(name, text) +1
    CULVERT_CLOSE_REASONS(X)
#undef X
    ;

std::string_view to_string(CloseReason) noexcept;    // the name: metric label
std::string_view description(CloseReason) noexcept;  // the sentence

}
