// SPDX-License-Identifier: Apache-2.0
// Bulk data that knows its own place: byte n of a stream is the same whoever makes it, and no two nearby offsets look
// alike, so a lost, repeated or swapped chunk is seen where it happens.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "connection.hpp"

namespace culvert::test {

inline constexpr std::uint64_t mebibyte = 1 << 20;

class Pattern {
public:
    explicit Pattern(std::uint64_t seed);
    std::string_view at(std::uint64_t offset, std::size_t most) const;  // may be shorter
    bool matches(std::uint64_t offset, std::string_view bytes) const;

private:
    std::string table_;
};

// Sends `bytes` of it; does not end the stream.
void pour(Connection& connection, const Pattern& pattern, std::uint64_t bytes);
// Sends until the connection takes nothing for `quiet`, or `most` are sent; says how many it took.
std::uint64_t stuff(Connection& connection, const Pattern& pattern, std::uint64_t most, Milliseconds quiet = 1s);

struct Received {
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> first_wrong;  // offset of the chunk that differed
};
// Until the other side ends, or `most` bytes came.
Received drain(Connection& connection, const Pattern& pattern, std::uint64_t most = UINT64_MAX);

}
