// SPDX-License-Identifier: Apache-2.0
// In the place of a policy that nobody could read yet: until somebody can, it denies. Without it a policy of a
// namespace, which no workload names, would not be missed, and all be let in.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include <culvert/policy/policy.hpp>

namespace culvert::xds {

// `name`: "namespace/name", as the response calls it; nothing where it is none. As far as the bytes say for whom the
// policy is, it is for them, else for its namespace; those of the root namespace are for all.
std::optional<policy::Policy> stand_in(std::string_view name, std::string_view bytes, std::string_view root_namespace);

}
