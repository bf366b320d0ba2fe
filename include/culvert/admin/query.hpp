// SPDX-License-Identifier: Apache-2.0
// What stands behind the '?' of a request.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::admin {

class Query {
public:
    Query() = default;
    // "pod=ns%2Fweb&after=7". What is named twice counts as named first.
    explicit Query(std::string_view text);

    std::optional<std::string> value(const std::string& name) const;
    // A number from 0 on; nothing when it is missing or none.
    std::optional<std::uint64_t> number(const std::string& name) const;

private:
    std::map<std::string, std::string> values_;
};

// For the one who asks: everything that is not a letter, a digit or one of -._~ as %XX.
std::string percent_encoded(std::string_view text);

}
