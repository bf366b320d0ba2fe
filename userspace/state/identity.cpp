// SPDX-License-Identifier: Apache-2.0
#include <culvert/state/identity.hpp>

#include <array>

namespace culvert::state {

std::optional<Identity> Identity::parse(std::string_view uri) {
    constexpr std::string_view scheme = "spiffe://";
    if (!uri.starts_with(scheme)) return std::nullopt;
    uri.remove_prefix(scheme.size());

    std::array<std::string_view, 5> parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        std::size_t slash = uri.find('/');
        bool is_last = i + 1 == parts.size();
        if (is_last != (slash == std::string_view::npos)) return std::nullopt;
        parts[i] = uri.substr(0, slash);
        if (!is_last) uri.remove_prefix(slash + 1);
    }
    if (parts[1] != "ns" || parts[3] != "sa") return std::nullopt;
    return Identity{std::string{parts[0]}, std::string{parts[2]}, std::string{parts[4]}};
}

std::string Identity::to_string() const {
    return "spiffe://" + trust_domain + "/ns/" + namespace_ + "/sa/" + service_account;
}

}
