// SPDX-License-Identifier: Apache-2.0
#include "variables.hpp"

#include <unistd.h>

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "yaml.hpp"

namespace culvert::control {
namespace {

// A number at the front of the text, which is then behind it.
std::optional<std::uint32_t> take_number(std::string_view& text) {
    std::uint32_t value = 0;
    auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    return value;
}

std::optional<std::chrono::milliseconds> take_part(std::string_view& text) {
    auto count = take_number(text);
    if (!count) return std::nullopt;
    auto letters = text.substr(0, text.find_first_of("0123456789 "));
    text.remove_prefix(letters.size());
    while (text.starts_with(' ')) text.remove_prefix(1);
    if (letters == "ms") return std::chrono::milliseconds{*count};
    if (letters == "s") return std::chrono::seconds{*count};
    if (letters == "m") return std::chrono::minutes{*count};
    if (letters == "h") return std::chrono::hours{*count};
    if (letters == "d") return std::chrono::hours{24} * *count;
    return std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    std::chrono::milliseconds sum{0};
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        auto part = take_part(text);
        if (!part) return std::nullopt;
        sum += *part;
    }
    return sum;
}

std::optional<unsigned> parse_cores(std::string_view text) {
    if (text.ends_with('m')) {
        text.remove_suffix(1);
        auto milli = take_number(text);
        if (!milli || !text.empty()) return std::nullopt;
        return (*milli + 999) / 1000;
    }
    double cores = 0;
    auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), cores);
    if (ec != std::errc{} || stop != text.data() + text.size() || !(cores >= 0) || cores > 100'000) return std::nullopt;
    return static_cast<unsigned>(std::ceil(cores));
}

}

Variables environment() {
    Variables all;
    for (char** entry = environ; entry && *entry; ++entry) {
        std::string_view text{*entry};
        if (auto equals = text.find('='); equals != std::string_view::npos)
            all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

bool names_a_cluster(const Variables& variables) {
    return variables.contains("INPOD_UDS") || variables.contains("XDS_ADDRESS");
}

std::optional<std::string> Reading::text(const std::string& name) const {
    auto found = variables_.find(name);
    return found == variables_.end() ? std::nullopt : std::optional{found->second};
}

std::string Reading::text_or(const std::string& name, const std::string& otherwise) const {
    auto value = text(name);
    return value && !value->empty() ? *value : otherwise;
}

bool Reading::flag(const std::string& name, bool otherwise) const {
    auto value = text(name);
    if (!value) return otherwise;
    if (*value != "true" && *value != "false") refuse(name, "true or false");
    return *value == "true";
}

std::optional<std::chrono::milliseconds> Reading::duration(const std::string& name) const {
    auto value = text(name);
    if (!value) return std::nullopt;
    auto time = parse_duration(*value);
    if (!time) refuse(name, R"(a time such as "100ms", "90s", "5m" or "24h")");
    return time;
}

std::uint32_t Reading::number(const std::string& name, std::uint32_t otherwise, std::uint32_t least,
                              std::uint32_t most) const {
    auto value = text(name);
    if (!value) return otherwise;
    std::string_view rest{*value};
    auto number = take_number(rest);
    if (!number || !rest.empty() || *number < least || *number > most)
        refuse(name, fmt::format("a number from {} to {}", least, most));
    return *number;
}

std::optional<unsigned> Reading::cores(const std::string& name) const {
    auto value = text(name);
    if (!value || value->empty()) return std::nullopt;
    auto cores = parse_cores(*value);
    if (!cores) refuse(name, R"(cores such as "2", "1.5" or "500m")");
    return cores;
}

std::map<std::string, std::string> Reading::with_prefix(const std::string& prefix) const {
    std::map<std::string, std::string> found;
    for (auto at = variables_.lower_bound(prefix); at != variables_.end() && at->first.starts_with(prefix); ++at)
        found.emplace(at->first.substr(prefix.size()), at->second);
    return found;
}

void Reading::refuse(const std::string& name, const std::string& expected) const {
    throw yaml::Refused{
        fmt::format("{}: found {}, expected {}", name, yaml::quoted(text(name).value_or("")), expected)};
}

}
