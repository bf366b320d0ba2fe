// SPDX-License-Identifier: Apache-2.0
#include "yaml.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>

#include <culvert/base/log.hpp>

namespace culvert::control::yaml {
namespace {

constexpr std::size_t longest_quote = 80;

// Whom the parser tells what it meets, and who does not mind.
struct Deaf final : YAML::EventHandler {
    using Mark = YAML::Mark;
    using Style = YAML::EmitterStyle::value;
    void OnDocumentStart(const Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const Mark&, YAML::anchor_t) override {}
    void OnAlias(const Mark&, YAML::anchor_t) override {}
    void OnScalar(const Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const Mark&, const std::string&, YAML::anchor_t, Style) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const Mark&, const std::string&, YAML::anchor_t, Style) override {}
    void OnMapEnd() override {}
};

// yaml-cpp counts from 0, and says of a value that was left out -1 or where the next one stands.
int line_of(const YAML::Node& node, int otherwise) {
    int line = node.Mark().line;
    return line < 0 || node.IsNull() ? otherwise : line + 1;
}

bool is_plain(std::string_view key) {
    auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-'; };
    return !key.empty() && std::ranges::all_of(key, plain);
}

std::size_t edits_between(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); ++j) {
            std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

std::string which_key(std::string_view wrong, const std::vector<Field>& table) {
    std::vector<std::string_view> keys;
    if (wrong.size() < longest_quote)
        for (const Field& field : table) {
            if (edits_between(wrong, field.key) <= 2) return fmt::format("did you mean {}?", field.key);
        }
    for (const Field& field : table) keys.push_back(field.key);
    return "expected " + alternatives(keys);
}

}

std::size_t count_documents(const std::string& text, std::size_t most) {
    std::istringstream stream{text};
    YAML::Parser parser{stream};
    Deaf nobody;
    std::size_t documents = 0;
    while (documents < most && parser.HandleNextDocument(nobody)) ++documents;
    return documents;
}

std::string quoted(std::string_view text) {
    fmt::memory_buffer out;
    bool cut = text.size() > longest_quote;
    std::size_t length = std::min(text.size(), longest_quote);
    while (cut && length > 0 && (text[length] & 0xc0) == 0x80) --length;  // not in the middle of a letter
    base::log::append_quoted(out, text.substr(0, length));
    return fmt::to_string(out) + (cut ? "..." : "");
}

std::string alternatives(const std::vector<std::string_view>& words) {
    if (words.size() < 2) return std::string{words.empty() ? "nothing" : words.front()};
    return fmt::format("{} or {}", fmt::join(words.begin(), words.end() - 1, ", "), words.back());
}

Cursor::Cursor(const std::string& file, YAML::Node root)
    : file_{&file}, node_{std::move(root)}, line_{line_of(node_, 1)} {}

Cursor::Cursor(const Cursor& parent, YAML::Node node, std::string path, int line)
    : file_{parent.file_}, node_{std::move(node)}, path_{std::move(path)}, line_{line_of(node_, line)} {}

std::string Cursor::child_path(const std::string& parent, std::string_view key) {
    if (!is_plain(key)) return fmt::format("{}[{}]", parent, yaml::quoted(key));
    return parent.empty() ? std::string{key} : fmt::format("{}.{}", parent, key);
}

std::string Cursor::found() const {
    if (is_null()) return "nothing";
    if (node_.IsScalar()) return yaml::quoted(node_.Scalar());
    return node_.IsSequence() ? "a list" : "a mapping";
}

void Cursor::expected(std::string_view what, std::string_view advice) const {
    refuse(fmt::format("found {}, expected {}{}{}", found(), what, advice.empty() ? "" : "; ", advice));
}

void Cursor::refuse(std::string_view words) const {
    throw Refused{fmt::format("{}:{}: {}{}{}", *file_, line_, path_, path_.empty() ? "" : ": ", words)};
}

const std::string& Cursor::text(std::string_view what) const {
    if (is_null() || !node_.IsScalar()) expected(what);
    return node_.Scalar();
}

void Cursor::items(const std::function<void(const Cursor&)>& each) const {
    if (is_null() || !node_.IsSequence()) expected("a list");
    std::size_t index = 0;
    for (const YAML::Node& item : node_) each(Cursor{*this, item, fmt::format("{}[{}]", path_, index++), line_});
}

// A key stands at its own line, under the path of its value.
Cursor Cursor::key(const YAML::Node& key) const {
    if (!key.IsDefined() || !key.IsScalar()) Cursor{*this, key, path_, line_}.expected("a word as the key");
    return {*this, key, child_path(path_, key.Scalar()), line_};
}

void Cursor::entries(const std::function<void(const Cursor&, const Cursor&)>& each) const {
    if (is_null() || !node_.IsMap()) expected("a mapping");
    std::map<std::string, int> lines;
    for (const auto& entry : node_) {
        Cursor name = key(entry.first);
        auto [first, is_new] = lines.emplace(entry.first.Scalar(), name.line());
        if (!is_new) name.refuse(fmt::format("found a second time, first on line {}; remove one", first->second));
        each(name, Cursor{*this, entry.second, name.path_, name.line()});
    }
}

void Cursor::fields(const std::vector<Field>& table, Unknown unknown) const {
    std::vector<bool> seen(table.size());
    entries([&](const Cursor& name, const Cursor& value) {
        auto field = std::ranges::find(table, name.text(), &Field::key);
        if (field != table.end()) {
            seen[static_cast<std::size_t>(field - table.begin())] = true;
            field->reader.read(value);
        } else if (unknown == Unknown::refused) {
            name.refuse("found an unknown key, " + which_key(name.text(), table));
        }
    });
    for (std::size_t i = 0; i < table.size(); ++i)
        if (!seen[i] && table[i].need == Need::required)
            Cursor{*this, node_, child_path(path_, table[i].key), line_}.refuse("missing, expected " +
                                                                                table[i].reader.expected);
}

Cursor Cursor::at(std::string_view key) const {
    for (const auto& entry : node_)
        if (entry.first.IsScalar() && entry.first.Scalar() == key)
            return {*this, entry.second, child_path(path_, key), line_of(entry.first, line_)};
    return *this;
}

Reader text(std::string& into) {
    return {"text", [&into](const Cursor& at) { into = at.text(); }};
}

Reader name(std::string& into, std::string expected) {
    return {expected, [&into, expected](const Cursor& at) {
                into = at.text(expected);
                if (into.empty()) at.expected(expected);
            }};
}

Reader flag(bool& into) {
    return {"true or false", [&into](const Cursor& at) {
                const std::string& word = at.text("true or false");
                if (word != "true" && word != "false") at.expected("true or false");
                into = word == "true";
            }};
}

std::uint32_t to_number(const Cursor& at, std::uint32_t least, std::uint32_t most) {
    std::string what = fmt::format("a number from {} to {}", least, most);
    const std::string& digits = at.text(what);
    std::uint32_t value = 0;
    auto [stop, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (ec != std::errc{} || stop != digits.data() + digits.size() || value < least || value > most) at.expected(what);
    return value;
}

Reader number(std::uint32_t& into, std::uint32_t least, std::uint32_t most) {
    return {fmt::format("a number from {} to {}", least, most),
            [&into, least, most](const Cursor& at) { into = to_number(at, least, most); }};
}

Reader port(std::uint16_t& into) {
    return {"a port", [&into](const Cursor& at) { into = static_cast<std::uint16_t>(to_number(at, 1, 65535)); }};
}

namespace {

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    std::uint32_t count = 0;
    auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (ec != std::errc{}) return std::nullopt;
    std::string_view unit{stop, static_cast<std::size_t>(text.data() + text.size() - stop)};
    if (unit == "ms") return std::chrono::milliseconds{count};
    if (unit == "s") return std::chrono::seconds{count};
    if (unit == "m") return std::chrono::minutes{count};
    if (unit == "h") return std::chrono::hours{count};
    return std::nullopt;
}

}

Reader duration(std::chrono::milliseconds& into, std::chrono::milliseconds least) {
    std::string expected = R"(a time such as "100ms", "90s", "5m" or "24h")";
    if (least.count() > 1) expected += fmt::format(", not shorter than {}ms", least.count());
    return {expected, [&into, least, expected](const Cursor& at) {
                auto time = parse_duration(at.text(expected));
                if (!time || *time < least) at.expected(expected);
                into = *time;
            }};
}

Reader or_null(Reader reader) {
    auto read = [inner = std::move(reader.read)](const Cursor& at) {
        if (!at.is_null()) inner(at);
    };
    return {std::move(reader.expected), std::move(read)};
}

Reader section(std::function<void(const Cursor&)> read) {
    return {"a mapping", std::move(read)};
}

}
