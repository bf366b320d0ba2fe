// SPDX-License-Identifier: Apache-2.0
// The operator's log, on standard error: error, somebody must act; warn, degraded and going on; info, a pod or the
// node changed state, never per connection; debug, one line per connection step.
// The access log is not a level of this one (telemetry/access_log.hpp).
#pragma once
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace culvert::base::log {

enum class Level { debug, info, warn, error, off };
enum class Format { text, json };

std::string_view to_string(Level) noexcept;
std::optional<Level> parse_level(std::string_view) noexcept;

// Process-wide and set by main before other threads start; level may change later.
void configure(Level, Format) noexcept;
bool enabled(Level) noexcept;

// One line: time, level, scope (the component's name), message. Takes a lock: never call it per packet.
void write(Level, std::string_view scope, std::string_view message);

// Line shapes shared with the access log. RFC 3339 UTC with microseconds, as ztunnel writes it.
void append_time(fmt::memory_buffer& out, std::int64_t unix_nanoseconds);
// JSON string with its quotes; also the form of a quoted value in text lines.
void append_quoted(fmt::memory_buffer& out, std::string_view text);

template <class... Args>
void debug(std::string_view scope, fmt::format_string<Args...> text, Args&&... args) {
    if (enabled(Level::debug)) write(Level::debug, scope, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void info(std::string_view scope, fmt::format_string<Args...> text, Args&&... args) {
    if (enabled(Level::info)) write(Level::info, scope, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void warn(std::string_view scope, fmt::format_string<Args...> text, Args&&... args) {
    if (enabled(Level::warn)) write(Level::warn, scope, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void error(std::string_view scope, fmt::format_string<Args...> text, Args&&... args) {
    if (enabled(Level::error)) write(Level::error, scope, fmt::format(text, std::forward<Args>(args)...));
}

}
