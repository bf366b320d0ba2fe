// SPDX-License-Identifier: Apache-2.0
// What a control plane tells of: workloads and services (both "addresses") and authorization policies.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <culvert/policy/policy.hpp>
#include <culvert/state/workload.hpp>

namespace culvert::xds {

enum class Kind : std::uint8_t { address, authorization };
inline constexpr std::size_t kinds = 2;

std::string_view type_url(Kind) noexcept;
std::string_view to_string(Kind) noexcept;  // "Address", "Authorization"

using Resource = std::variant<state::Workload, state::Service, policy::Policy>;

// A workload's uid, a service's namespace/hostname, a policy's namespace/name.
std::string name_of(const Resource& resource);

}
