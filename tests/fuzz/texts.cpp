// SPDX-License-Identifier: Apache-2.0
// Short texts that a peer or a file names things with. What is read is written, and read back, as the same.
#include <culvert/base/address.hpp>
#include <culvert/state/cidr.hpp>
#include <culvert/state/identity.hpp>

#include "require.hpp"

using namespace culvert;

namespace {

template <class T>
void check_round_trip(std::string_view text) {
    auto value = T::parse(text);
    if (!value) return;
    std::string again = value->to_string();
    fuzz::require(T::parse(again) == value, "read back from \"" + again + "\"");
}

}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text{reinterpret_cast<const char*>(data), size};
    check_round_trip<base::IpAddress>(text);
    check_round_trip<base::SocketAddress>(text);
    check_round_trip<state::Cidr>(text);
    check_round_trip<state::Identity>(text);
    if (auto identity = state::Identity::parse(text))
        fuzz::require(identity->to_string() == text, "a SPIFFE name has one spelling");
    return 0;
}
