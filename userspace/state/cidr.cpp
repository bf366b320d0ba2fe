// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/cidr.hpp>

#include <algorithm>
#include <charconv>

namespace culvert::state {

std::optional<Cidr> Cidr::parse(std::string_view text) {
    std::size_t slash = text.find('/');
    auto ip = base::IpAddress::parse(text.substr(0, slash));
    if (!ip) return std::nullopt;
    // "::ffff:10.0.0.0/104": IPv4 written as IPv6, in whose bits the length counts.
    const unsigned mapped = ip->is_v4() && text.find(':') != std::string_view::npos ? 96 : 0;
    const unsigned longest = ip->is_v4() ? 32 : 128;
    if (slash == std::string_view::npos) return Cidr{*ip, longest};

    unsigned length = 0;
    const char* begin = text.data() + slash + 1;
    const char* end = text.data() + text.size();
    auto [stop, ec] = std::from_chars(begin, end, length);
    if (ec != std::errc{} || stop != end || length < mapped || length > longest + mapped) return std::nullopt;
    return Cidr{*ip, length - mapped};
}

bool Cidr::contains(const base::IpAddress& candidate) const noexcept {
    if (ip.is_v4() != candidate.is_v4()) return false;
    unsigned bits = prefix_length + (ip.is_v4() ? 96 : 0);  // IPv4 is mapped: its own bits are the last 32
    auto whole = bits / 8;
    if (!std::equal(ip.bytes.begin(), ip.bytes.begin() + whole, candidate.bytes.begin())) return false;
    unsigned rest = bits % 8;
    return rest == 0 || (ip.bytes[whole] ^ candidate.bytes[whole]) >> (8 - rest) == 0;
}

base::IpAddress Cidr::network() const noexcept {
    base::IpAddress first = ip;
    int bits = static_cast<int>(prefix_length) + (ip.is_v4() ? 96 : 0);
    for (std::uint8_t& byte : first.bytes) {
        byte &= static_cast<std::uint8_t>(0xff00u >> std::clamp(bits, 0, 8));
        bits -= 8;
    }
    return first;
}

std::string Cidr::to_string() const {
    return ip.to_string() + "/" + std::to_string(prefix_length);
}

}
