// SPDX-License-Identifier: Apache-2.0
#include <culvert/admin/query.hpp>

#include <algorithm>
#include <charconv>

namespace culvert::admin {
namespace {

std::string percent_decoded(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned char byte = 0;
        const char* end = text.data() + i + 3;
        if (text[i] == '%' && i + 2 < text.size() && std::from_chars(end - 2, end, byte, 16).ptr == end) {
            plain += static_cast<char>(byte);
            i += 2;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

}

Query::Query(std::string_view text) {
    while (!text.empty()) {
        auto pair = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(text.size(), pair.size() + 1));
        auto equals = pair.find('=');
        auto name = percent_decoded(pair.substr(0, equals));
        auto value = equals == std::string_view::npos ? "" : percent_decoded(pair.substr(equals + 1));
        values_.emplace(std::move(name), std::move(value));
    }
}

std::optional<std::string> Query::value(const std::string& name) const {
    auto found = values_.find(name);
    if (found == values_.end()) return std::nullopt;
    return found->second;
}

std::optional<std::uint64_t> Query::number(const std::string& name) const {
    auto text = value(name);
    if (!text) return std::nullopt;
    std::uint64_t number = 0;
    const char* end = text->data() + text->size();
    auto [stop, failed] = std::from_chars(text->data(), end, number);
    if (failed != std::errc{} || stop != end || text->empty()) return std::nullopt;
    return number;
}

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr char digits[] = "0123456789ABCDEF";
    std::string encoded;
    for (unsigned char byte : text) {
        if (plain.find(static_cast<char>(byte)) != std::string_view::npos) {
            encoded += static_cast<char>(byte);
        } else {
            encoded += '%';
            encoded += digits[byte >> 4];
            encoded += digits[byte & 15];
        }
    }
    return encoded;
}

}
