// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/close_reason.hpp>

namespace culvert::telemetry {

std::string_view to_string(CloseReason reason) noexcept {
    switch (reason) {
#define X(name, text) \
    case CloseReason::name: return #name;
        CULVERT_CLOSE_REASONS(X)
#undef X
    }
    return "unknown";
}

std::string_view description(CloseReason reason) noexcept {
    switch (reason) {
#define X(name, text) \
    case CloseReason::name: return text;
        CULVERT_CLOSE_REASONS(X)
#undef X
    }
    return "unknown";
}

}
