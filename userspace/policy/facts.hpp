// SPDX-License-Identifier: Apache-2.0
// A connection as rules look at it.
#pragma once
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <culvert/policy/set.hpp>

namespace culvert::policy {

class Facts {
public:
    explicit Facts(const Connection& connection) noexcept;
    Facts(const Facts&) = delete;
    Facts& operator=(const Facts&) = delete;

    base::IpAddress source;
    base::SocketAddress destination;
    bool has_peer = false;
    // Longer than any that the SPIFFE standard allows: nobody can say who that is.
    bool unreadable = false;
    std::string_view principal;  // <trust domain>/ns/<namespace>/sa/<service account>
    std::string_view namespace_;
    std::string_view service_account;
    std::string_view account;  // <namespace>/sa/<service account>

private:
    std::array<char, 2048> text_;
};

// One of the values, and none of the others; lists that are empty say nothing.
template <class Value, class Is>
bool fits(const std::vector<Value>& wanted, const std::vector<Value>& unwanted, Is is) noexcept {
    return (wanted.empty() || std::ranges::any_of(wanted, is)) && std::ranges::none_of(unwanted, is);
}

bool matches(const Rule& rule, const Facts& facts) noexcept;

}
