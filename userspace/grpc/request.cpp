// SPDX-License-Identifier: Apache-2.0
#include "request.hpp"

#include <fmt/format.h>

#include "files.hpp"

namespace culvert::grpc {

namespace {

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view spaces = " \t\r\n";
    std::size_t first = text.find_first_not_of(spaces);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

// A line break in a header would end the connection, and with it all calls.
base::Result<std::string> bearer(std::string_view text, const std::string& where) {
    text = trimmed(text);
    if (text.empty()) return base::problem(fmt::format("the token {} is empty", where));
    for (unsigned char c : text)
        if (c <= ' ' || c > '~')
            return base::problem(fmt::format("the token {} is no token: it has blanks, or is not ASCII", where));
    return fmt::format("Bearer {}", text);
}

base::Result<std::string> authorization(const Token& token) {
    if (const auto* file = std::get_if<TokenFile>(&token)) {
        auto text = read_file(file->path);
        if (!text) return base::problem(fmt::format("the token cannot be read: {}", text.error().to_string()));
        return bearer(*text, "in " + file->path);
    }
    if (const auto* given = std::get_if<TokenText>(&token)) return bearer(given->text, "as given");
    return std::string{};
}

// The first unit in which eight digits are enough.
std::string timeout(std::chrono::milliseconds deadline) {
    if (deadline.count() < 100'000'000) return fmt::format("{}m", deadline.count());
    return fmt::format("{}S", std::chrono::duration_cast<std::chrono::seconds>(deadline).count());
}

}

base::Result<std::vector<Header>> request_head(const Target& target, const Endpoint& endpoint,
                                               const std::string& method, std::chrono::milliseconds deadline) {
    auto token = authorization(target.token);
    if (!token) return token.error();
    std::vector<Header> head{
        {":method", "POST"},       {":scheme", endpoint.tls ? "https" : "http"},
        {":path", method},         {":authority", endpoint.authority()},
        {"te", "trailers"},        {"content-type", "application/grpc"},
        {"user-agent", "culvert"},
    };
    if (deadline.count() > 0) head.push_back({"grpc-timeout", timeout(deadline)});
    if (!token->empty()) head.push_back({"authorization", std::move(*token), true});
    if (!target.cluster_id.empty()) head.push_back({"clusterid", target.cluster_id});
    for (const auto& [name, value] : target.headers) head.push_back({name, value});
    return head;
}

}
