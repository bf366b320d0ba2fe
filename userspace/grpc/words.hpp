// SPDX-License-Identifier: Apache-2.0
// What HTTP/2 says, as gRPC means it.
#pragma once
#include <culvert/grpc/status.hpp>

namespace culvert::grpc {

std::optional<Code> parse_code(std::string_view text) noexcept;  // "16"
// "a%20b" -> "a b"; what is no escape stays as it is.
std::string percent_decoded(std::string_view text);
Code code_of_http(int status) noexcept;               // of an answer that has no status of its own
Code code_of_reset(std::uint32_t h2_error) noexcept;  // of a stream that the server reset

}
