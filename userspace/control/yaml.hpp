// SPDX-License-Identifier: Apache-2.0
// Reading YAML by tables: a Cursor is a value and where it stands, a Reader knows what it expects and where to put it.
//
//   at.fields({{"uid", name(w.uid), Need::required},
//              {"protocol", choice(w.protocol, {Protocol::tcp, Protocol::hbone})}});
//
// Everything here refuses by throwing Refused, which parse_config() catches: a schema has a way out at every line, and
// none of them is interesting.
#pragma once
#include <chrono>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

namespace culvert::control::yaml {

struct Refused {
    std::string text;  // the whole line: "FILE:LINE: key.path: ..."
};

// At most so many: behind some texts (a comma at the start of a line) the library finds empty documents without end.
std::size_t count_documents(const std::string& text, std::size_t most);

class Cursor;

struct Reader {
    std::string expected;  // continues "expected ..."
    std::function<void(const Cursor&)> read;
};

enum class Need { optional, required };
inline constexpr Need required = Need::required;
enum class Unknown { refused, ignored };

struct Field {
    std::string_view key;
    Reader reader;
    Need need = Need::optional;
};

class Cursor {
public:
    Cursor(const std::string& file, YAML::Node root);

    int line() const noexcept { return line_; }
    bool is_null() const { return !node_.IsDefined() || node_.IsNull(); }
    bool is_empty_text() const { return node_.IsDefined() && node_.IsScalar() && node_.Scalar().empty(); }
    bool is_mapping() const { return node_.IsDefined() && node_.IsMap(); }
    std::string tag() const { return node_.Tag(); }

    // What stands here, for people: "UDP" with its quotes, "a list", "nothing".
    std::string found() const;
    // "FILE:LINE: path: found ..., expected ..." and, where it helps, what to do about it.
    [[noreturn]] void expected(std::string_view what, std::string_view advice = {}) const;
    // "FILE:LINE: path: " and these words.
    [[noreturn]] void refuse(std::string_view words) const;

    const std::string& text(std::string_view what = "text") const;
    void items(const std::function<void(const Cursor&)>& each) const;
    // A mapping whose keys are the user's. Twice the same key is refused, here and in fields().
    void entries(const std::function<void(const Cursor& key, const Cursor& value)>& each) const;
    // A mapping whose keys are ours, read in the order of the file.
    void fields(const std::vector<Field>& table, Unknown unknown = Unknown::refused) const;

    // The value of a key that fields() has read; the mapping itself when it was left out.
    Cursor at(std::string_view key) const;

private:
    Cursor(const Cursor& parent, YAML::Node node, std::string path, int line);
    Cursor key(const YAML::Node& key) const;
    static std::string child_path(const std::string& parent, std::string_view key);

    const std::string* file_;
    YAML::Node node_;
    std::string path_;
    int line_;  // 1-based
};

// Readers. `into` outlives the reading.
Reader text(std::string& into);
Reader name(std::string& into, std::string expected = "a name");  // not empty
Reader flag(bool& into);
Reader number(std::uint32_t& into, std::uint32_t least, std::uint32_t most);
Reader port(std::uint16_t& into);
// "100ms", "90s", "5m", "24h".
Reader duration(std::chrono::milliseconds& into, std::chrono::milliseconds least = std::chrono::milliseconds{1});
// Nothing at all, or what the reader wants.
Reader or_null(Reader reader);
Reader section(std::function<void(const Cursor&)> read);

std::uint32_t to_number(const Cursor& at, std::uint32_t least, std::uint32_t most);
std::string quoted(std::string_view text);
// "a", "a or b", "a, b or c".
std::string alternatives(const std::vector<std::string_view>& words);

// `places`, where given, keeps each item's own.
template <class T>
Reader list(std::vector<T>& into, Reader (*of)(T&), std::vector<Cursor>* places = nullptr) {
    return {"a list", [&into, of, places](const Cursor& at) {
                at.items([&](const Cursor& item) {
                    of(into.emplace_back()).read(item);
                    if (places) places->push_back(item);
                });
            }};
}

// Checks the value and keeps nothing.
template <class T>
Reader checked(Reader (*of)(T&)) {
    T nowhere{};
    std::string expected = of(nowhere).expected;
    return {std::move(expected), [of](const Cursor& at) {
                T value{};
                of(value).read(at);
            }};
}

// One of the words that to_string() has for these values.
template <class T>
Reader choice(T& into, std::initializer_list<T> values) {
    std::vector<std::string_view> words;
    for (T value : values) words.push_back(to_string(value));
    std::string expected = alternatives(words);
    return {expected, [&into, expected, words, all = std::vector<T>{values}](const Cursor& at) {
                const std::string& word = at.text(expected);
                for (std::size_t i = 0; i < words.size(); ++i)
                    if (words[i] == word) return void(into = all[i]);
                at.expected(expected);
            }};
}

}
