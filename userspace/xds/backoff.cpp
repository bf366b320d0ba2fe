// SPDX-License-Identifier: Apache-2.0
#include "backoff.hpp"

#include <algorithm>

namespace culvert::xds {

namespace {

bool is_how_connections_end(const grpc::Status& status) noexcept {
    using grpc::Code;
    switch (status.code) {
        case Code::unknown:
        case Code::cancelled:
        case Code::deadline_exceeded:
        case Code::unavailable: return true;
        default: return false;
    }
}

}

std::string_view to_string(Termination why) noexcept {
    switch (why) {
        case Termination::connection_error: return "ConnectionError";
        case Termination::error: return "Error";
        case Termination::reconnect: return "Reconnect";
        case Termination::complete: return "Complete";
    }
    return "Error";
}

Termination why_ended(const grpc::Status& status, bool garbage) noexcept {
    if (garbage) return Termination::error;
    if (status.ok()) return Termination::complete;
    if (status.origin == grpc::Origin::connecting) return Termination::connection_error;
    if (!is_how_connections_end(status)) return Termination::error;
    return status.answered ? Termination::reconnect : Termination::connection_error;
}

std::chrono::milliseconds Backoff::after(Termination why, std::chrono::milliseconds lived) {
    const bool as_usual = why == Termination::reconnect || why == Termination::complete;
    if (as_usual && lived >= pace_.settled) {
        last_ = {};
        return pace_.first;
    }
    last_ = std::clamp(2 * last_, pace_.first, pace_.most);
    const auto half = last_ / 2;
    return half + std::chrono::milliseconds{std::uniform_int_distribution<std::int64_t>{0, half.count()}(random_)};
}

}
