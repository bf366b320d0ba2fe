// SPDX-License-Identifier: Apache-2.0
#include "access_log.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace culvert::test {
namespace {

// The value at `at`, which moves past it: a quoted string with backslash escapes, or everything up to `stop`.
AccessLine::Field take_value(const std::string& line, std::size_t& at, const char* stop) {
    AccessLine::Field field;
    field.quoted = at < line.size() && line[at] == '"';
    if (!field.quoted) {
        const auto end = std::min(line.find_first_of(stop, at), line.size());
        field.value = line.substr(at, end - at);
        at = end;
        return field;
    }
    for (++at; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\' && at + 1 < line.size()) ++at;
        field.value += line[at];
    }
    ++at;
    return field;
}

std::optional<AccessLine> parse_text(const std::string& line) {
    std::vector<std::string> columns;
    std::istringstream split{line};
    for (std::string column; columns.size() < 4 && std::getline(split, column, '\t');) columns.push_back(column);
    if (columns.size() < 4 || columns[2] != "access") return {};
    AccessLine parsed{columns[1], columns[3], {}, line};
    for (std::size_t at = static_cast<std::size_t>(split.tellg()); at < line.size(); ++at) {
        const auto equals = line.find('=', at);
        if (equals == std::string::npos) return {};
        std::string key = line.substr(at, equals - at);
        at = equals + 1;
        parsed.fields.push_back(take_value(line, at, " "));
        parsed.fields.back().key = std::move(key);
    }
    return parsed;
}

// One flat object; that is all an access line is.
std::optional<AccessLine> parse_json(const std::string& line) {
    if (!line.ends_with('}')) return {};
    AccessLine parsed{{}, {}, {}, line};
    for (std::size_t at = 1; at < line.size(); ++at) {
        const std::string key = take_value(line, at, ":").value;
        if (at >= line.size() || line[at] != ':') return {};
        ++at;
        parsed.fields.push_back(take_value(line, at, ",}"));
        parsed.fields.back().key = key;
    }
    parsed.level = parsed["level"];
    parsed.message = parsed["message"];
    return parsed["scope"] == "access" ? std::optional{parsed} : std::nullopt;
}

std::string read_from(const std::string& path, std::size_t offset) {
    std::ifstream file{path};
    file.seekg(static_cast<std::streamoff>(offset));
    if (!file) return {};
    return {std::istreambuf_iterator<char>{file}, {}};
}

bool has_all(const AccessLine& line, const Wanted& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& want) { return line[want.first] == want.second; });
}

}

std::string AccessLine::operator[](const std::string& key) const {
    auto found = std::ranges::find(fields, key, &Field::key);
    return found == fields.end() ? "" : found->value;
}

std::vector<std::string> AccessLine::shape() const {
    std::vector<std::string> keys;
    for (const Field& field : fields) keys.push_back(field.key + (field.quoted ? "=quoted" : ""));
    return keys;
}

std::optional<AccessLine> parse_access_line(const std::string& line) {
    return line.starts_with('{') ? parse_json(line) : parse_text(line);
}

void AccessLog::mark() {
    std::error_code none;
    const auto size = std::filesystem::file_size(path_, none);
    mark_ = none ? 0 : size;
}

std::vector<AccessLine> AccessLog::since_mark() const {
    std::vector<AccessLine> lines;
    std::istringstream text{read_from(path_, mark_)};
    for (std::string line; std::getline(text, line) && !text.eof();)
        if (auto parsed = parse_access_line(line)) lines.push_back(std::move(*parsed));
    return lines;
}

AccessLine AccessLog::wait_for(const Wanted& wanted, Milliseconds limit) {
    std::vector<AccessLine> lines;
    std::optional<AccessLine> found;
    eventually(limit, [&] {
        lines = since_mark();
        auto match = std::ranges::find_if(lines, [&](const AccessLine& line) { return has_all(line, wanted); });
        if (match != lines.end()) found = *match;
        return found.has_value();
    });
    if (found) return *found;
    std::string complaint = "no access line with";
    for (const auto& [key, value] : wanted) complaint += " " + key + "=" + value;
    complaint += " in " + path_ + "; there was:\n";
    for (const AccessLine& line : lines) complaint += line.raw + "\n";
    throw std::runtime_error(complaint);
}

}
