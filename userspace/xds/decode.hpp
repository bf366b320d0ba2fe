// SPDX-License-Identifier: Apache-2.0
// One resource as it comes -> ours, or why not: "addresses[1] has 5 bytes; an address has 4 or 16".
#pragma once
#include <culvert/base/result.hpp>
#include <culvert/xds/resource.hpp>

#include <optional>

namespace culvert::xds {

// `name` is what the response calls it; the resource must say the same of itself.
base::Result<Resource> decode(Kind kind, std::string_view name, std::string_view bytes);

base::Result<Resource> decode_address(std::string_view bytes);
base::Result<Resource> decode_policy(std::string_view bytes);

// 4 or 16 bytes.
std::optional<base::IpAddress> ip_of(std::string_view bytes);
// Of `prefix_length` bits, or nothing when the address has fewer, or is none.
std::optional<state::Cidr> cidr_of(std::string_view bytes, std::uint32_t prefix_length);

}
