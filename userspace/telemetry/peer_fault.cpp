// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/peer_fault.hpp>

namespace culvert::telemetry {

std::string_view to_string(PeerFault fault) noexcept {
    static constexpr std::string_view names[] = {
#define X(name, text) #name,
        CULVERT_PEER_FAULTS(X)
#undef X
    };
    return names[static_cast<std::size_t>(fault)];
}

std::string_view description(PeerFault fault) noexcept {
    static constexpr std::string_view texts[] = {
#define X(name, text) text,
        CULVERT_PEER_FAULTS(X)
#undef X
    };
    return texts[static_cast<std::size_t>(fault)];
}

}
