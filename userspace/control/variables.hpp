// SPDX-License-Identifier: Apache-2.0
// Reading environment variables: each getter gives a default where the variable is missing, and throws yaml::Refused,
// which names it, where its value cannot be read.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

#include <culvert/control/environment.hpp>

namespace culvert::control {

class Reading {
public:
    explicit Reading(const Variables& variables) : variables_{variables} {}

    std::optional<std::string> text(const std::string& name) const;
    // The same, but the empty one counts as none.
    std::string text_or(const std::string& name, const std::string& otherwise) const;
    bool flag(const std::string& name, bool otherwise) const;                          // true or false, nothing else
    std::optional<std::chrono::milliseconds> duration(const std::string& name) const;  // "1h30m", "100ms"
    std::uint32_t number(const std::string& name, std::uint32_t otherwise, std::uint32_t least,
                         std::uint32_t most) const;
    // Cores as Kubernetes writes them: "2", "1.5", "500m"; rounded up.
    std::optional<unsigned> cores(const std::string& name) const;
    // Those that begin so, by the rest of their names.
    std::map<std::string, std::string> with_prefix(const std::string& prefix) const;

    [[noreturn]] void refuse(const std::string& name, const std::string& expected) const;

private:
    const Variables& variables_;
};

}
