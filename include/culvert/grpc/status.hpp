// SPDX-License-Identifier: Apache-2.0
// How a call ended.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::grpc {

// gRPC's own numbers.
enum class Code : std::uint8_t {
    ok = 0,
    cancelled = 1,
    unknown = 2,
    invalid_argument = 3,
    deadline_exceeded = 4,
    not_found = 5,
    already_exists = 6,
    permission_denied = 7,
    resource_exhausted = 8,
    failed_precondition = 9,
    aborted = 10,
    out_of_range = 11,
    unimplemented = 12,
    internal = 13,
    unavailable = 14,
    data_loss = 15,
    unauthenticated = 16,
};

std::string_view to_string(Code) noexcept;  // "Unauthenticated", as others write it

// Who said so.
enum class Origin : std::uint8_t {
    server,      // its trailers
    connecting,  // there was no connection: name, address, certificate, token file
    connection,  // it broke, or what came is no gRPC
    us,          // a deadline, a limit, a cancel
};

struct Status {
    Code code = Code::ok;
    std::string message;  // for people
    Origin origin = Origin::server;
    // The server had sent the head of its answer: it had taken the call on.
    bool answered = false;
    // For so long the server had said nothing, where that is how we know that it is gone.
    std::chrono::milliseconds silence{0};

    bool ok() const noexcept { return code == Code::ok; }
    std::string to_string() const;  // "Unauthenticated: authentication failure"
};

}
