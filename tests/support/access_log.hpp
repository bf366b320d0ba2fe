// SPDX-License-Identifier: Apache-2.0
// The access log as its readers see it: lines of key and value, text or JSON, waited for.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wait.hpp"

namespace culvert::test {

struct AccessLine {
    struct Field {
        std::string key;
        std::string value;    // without its quotes
        bool quoted = false;  // a string, where others are numbers and bare addresses
    };
    std::string level;
    std::string message;
    std::vector<Field> fields;
    std::string raw;

    std::string operator[](const std::string& key) const;  // empty when it is not there
    // "key" or "key=quoted", in order: the line's shape, to compare with another's.
    std::vector<std::string> shape() const;
};

// Understands both shapes; nothing for a line that is neither.
std::optional<AccessLine> parse_access_line(const std::string& line);

using Wanted = std::vector<std::pair<std::string, std::string>>;

class AccessLog {
public:
    explicit AccessLog(std::string path) : path_{std::move(path)} {}

    // From here on, earlier lines do not count.
    void mark();
    // The first line since the mark with all these values; throws, and says what was there instead, after `limit`.
    AccessLine wait_for(const Wanted& wanted, Milliseconds limit = 10s);
    std::vector<AccessLine> since_mark() const;
    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    std::size_t mark_ = 0;
};

}
