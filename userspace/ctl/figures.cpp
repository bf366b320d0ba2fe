// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace culvert::ctl {

namespace json = boost::json;

std::string bytes(double count) {
    if (count < 1024) return fmt::format("{:.0f} B", count);
    constexpr std::string_view units[] = {"KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    for (count /= 1024; count >= 1023.95 && unit + 1 < std::size(units); ++unit) count /= 1024;
    return fmt::format("{:.1f} {}", count, units[unit]);
}

std::string time_span(double seconds) {
    auto whole = static_cast<long long>(seconds);
    if (seconds < 10) return fmt::format("{:.1f}s", seconds);
    if (whole < 60) return fmt::format("{}s", whole);
    if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
    if (whole < 86'400) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
    return fmt::format("{}d{}h", whole / 86'400, whole / 3600 % 24);
}

std::string per_second(double rate) {
    return rate > 0 && rate < 9.95 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate);
}

std::string time_until(std::string_view rfc3339, std::chrono::system_clock::time_point now) {
    std::tm parts{};
    std::string text{rfc3339};
    if (!::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts)) return text;
    auto left = std::chrono::duration<double>(std::chrono::system_clock::from_time_t(::timegm(&parts)) - now).count();
    return left >= 0 ? "in " + time_span(left) : time_span(-left) + " ago";
}

std::string short_identity(std::string_view identity) {
    constexpr std::string_view scheme = "spiffe://";
    if (identity.starts_with(scheme)) identity.remove_prefix(scheme.size());
    return std::string{identity.empty() ? "-" : identity};
}

const json::value& at(const json::value& answer, std::string_view path) {
    static const json::value nothing;
    const json::value* here = &answer;
    while (!path.empty()) {
        auto key = path.substr(0, path.find('.'));
        path.remove_prefix(std::min(path.size(), key.size() + 1));
        const auto* object = here->if_object();
        here = object ? object->if_contains({key.data(), key.size()}) : nullptr;
        if (!here) return nothing;
    }
    return *here;
}

std::string text_at(const json::value& answer, std::string_view path) {
    const auto* text = at(answer, path).if_string();
    return text ? std::string{text->data(), text->size()} : std::string{};
}

double number_at(const json::value& answer, std::string_view path) {
    const auto& value = at(answer, path);
    if (value.is_int64()) return static_cast<double>(value.get_int64());
    if (value.is_uint64()) return static_cast<double>(value.get_uint64());
    return value.is_double() ? value.get_double() : 0;
}

std::string count_at(const json::value& answer, std::string_view path) {
    return fmt::format("{:.0f}", number_at(answer, path));
}

const json::array& list_at(const json::value& answer, std::string_view path) {
    static const json::array none;
    const auto* list = at(answer, path).if_array();
    return list ? *list : none;
}

bool is_called(const boost::json::value& pod, const std::string& name) {
    auto own = text_at(pod, "name");
    return own == name || text_at(pod, "namespace") + "/" + own == name || text_at(pod, "uid") == name;
}

}
