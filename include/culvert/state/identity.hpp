// SPDX-License-Identifier: Apache-2.0
// Who a workload is: its SPIFFE id, spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::state {

struct Identity {
    std::string trust_domain;
    std::string namespace_;
    std::string service_account;

    // Exactly five path parts, as ztunnel reads it; empty parts are accepted.
    static std::optional<Identity> parse(std::string_view uri);
    std::string to_string() const;

    friend auto operator<=>(const Identity&, const Identity&) = default;
};

}
