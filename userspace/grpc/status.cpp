// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/status.hpp>

#include <nghttp2/nghttp2.h>

#include <array>
#include <charconv>

#include "words.hpp"

namespace culvert::grpc {

namespace {

constexpr std::array<std::string_view, 17> names{
    "Ok",       "Cancelled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

int hex(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}

std::string_view to_string(Code code) noexcept {
    return names[static_cast<std::size_t>(code)];
}

std::string Status::to_string() const {
    std::string text{grpc::to_string(code)};
    if (!message.empty()) text += ": " + message;
    return text;
}

std::optional<Code> parse_code(std::string_view text) noexcept {
    unsigned number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    // Of numbers to come: all that is known is that it went wrong.
    return number < names.size() ? static_cast<Code>(number) : Code::unknown;
}

std::string percent_decoded(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            plain += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

Code code_of_http(int status) noexcept {
    switch (status) {
        case 400: return Code::internal;
        case 401: return Code::unauthenticated;
        case 403: return Code::permission_denied;
        case 404: return Code::unimplemented;
        case 429:
        case 502:
        case 503:
        case 504: return Code::unavailable;
        default: return Code::unknown;
    }
}

Code code_of_reset(std::uint32_t h2_error) noexcept {
    switch (h2_error) {
        case NGHTTP2_REFUSED_STREAM: return Code::unavailable;
        case NGHTTP2_CANCEL: return Code::cancelled;
        case NGHTTP2_ENHANCE_YOUR_CALM: return Code::resource_exhausted;
        case NGHTTP2_INADEQUATE_SECURITY: return Code::permission_denied;
        default: return Code::internal;
    }
}

}
