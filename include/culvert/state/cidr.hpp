// SPDX-License-Identifier: Apache-2.0
// An address range: "10.0.0.0/8", "fd00::/64".
#pragma once
#include <culvert/base/address.hpp>

namespace culvert::state {

struct Cidr {
    base::IpAddress ip;          // as written: host bits are kept, and mean nothing
    unsigned prefix_length = 0;  // in the address's own family: 0-32 or 0-128

    // A bare address is a range of one.
    static std::optional<Cidr> parse(std::string_view text);
    bool contains(const base::IpAddress& candidate) const noexcept;  // never across families
    base::IpAddress network() const noexcept;                        // without host bits
    std::string to_string() const;

    friend auto operator<=>(const Cidr&, const Cidr&) = default;
};

}
