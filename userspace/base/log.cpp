// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/log.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <iterator>
#include <mutex>
#include <utility>

namespace culvert::base::log {
namespace {

std::atomic<Level> threshold{Level::info};
std::atomic<Format> format{Format::text};
std::mutex one_line_at_a_time;
std::uint64_t lines_lost = 0;

// A pipe whose reader has stopped would hold up whoever logs. One that polls writable takes PIPE_BUF bytes at once.
bool takes_a_line() {
    pollfd standard_error{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&standard_error, 1, 0) == 1;
}

constexpr std::array<std::string_view, 5> names{"debug", "info", "warn", "error", "off"};

void append(fmt::memory_buffer& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
}

}

std::string_view to_string(Level level) noexcept {
    return names[static_cast<std::size_t>(level)];
}

std::optional<Level> parse_level(std::string_view text) noexcept {
    for (std::size_t i = 0; i < names.size(); ++i)
        if (names[i] == text) return static_cast<Level>(i);
    return std::nullopt;
}

void configure(Level level, Format shape) noexcept {
    threshold = level;
    format = shape;
}

bool enabled(Level level) noexcept {
    return level >= threshold.load(std::memory_order_relaxed);
}

void append_time(fmt::memory_buffer& out, std::int64_t unix_nanoseconds) {
    // Lines come in bursts: the calendar is looked at once a second.
    thread_local std::time_t known = -1;
    thread_local std::string until_seconds;
    std::time_t seconds = unix_nanoseconds / 1'000'000'000;
    if (seconds != known) {
        std::tm utc{};
        ::gmtime_r(&seconds, &utc);
        until_seconds = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.", utc.tm_year + 1900, utc.tm_mon + 1,
                                    utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
        known = seconds;
    }
    append(out, until_seconds);
    fmt::format_to(std::back_inserter(out), "{:06}Z", unix_nanoseconds % 1'000'000'000 / 1000);
}

void append_quoted(fmt::memory_buffer& out, std::string_view text) {
    out.push_back('"');
    auto is_special = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '"' || c == '\\'; };
    auto plain = std::ranges::find_if(text, is_special) - text.begin();
    append(out, text.substr(0, static_cast<std::size_t>(plain)));
    text.remove_prefix(static_cast<std::size_t>(plain));
    for (unsigned char c : text) {
        switch (c) {
            case '"': append(out, "\\\""); break;
            case '\\': append(out, "\\\\"); break;
            case '\n': append(out, "\\n"); break;
            case '\r': append(out, "\\r"); break;
            case '\t': append(out, "\\t"); break;
            default:
                if (c < 0x20 || c == 0x7f)
                    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
                else
                    out.push_back(static_cast<char>(c));
        }
    }
    out.push_back('"');
}

void write(Level level, std::string_view scope, std::string_view message) {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    fmt::memory_buffer line;
    if (format == Format::json) {
        append(line, "{\"level\":");
        append_quoted(line, to_string(level));
        append(line, ",\"time\":\"");
        append_time(line, nanoseconds);
        append(line, "\",\"scope\":");
        append_quoted(line, scope);
        append(line, ",\"message\":");
        append_quoted(line, message);
        append(line, "}\n");
    } else {
        append_time(line, nanoseconds);
        fmt::format_to(std::back_inserter(line), "\t{}\t{}\t{}\n", to_string(level), scope, message);
    }
    std::lock_guard lock{one_line_at_a_time};
    if (!takes_a_line()) {
        ++lines_lost;
        return;
    }
    if (auto lost = std::exchange(lines_lost, 0))
        fmt::format_to(std::back_inserter(line), "(before this one {} lines of the log were lost: nobody read them)\n",
                       lost);
    // A log nobody can take is no reason to stop carrying traffic.
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}
