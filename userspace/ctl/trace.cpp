// SPDX-License-Identifier: Apache-2.0
// culvertctl trace POD
#include <fmt/format.h>

#include <algorithm>

#include <culvert/admin/query.hpp>

#include "commands.hpp"
#include "figures.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

std::string stream(const Options& options) {
    return "/trace?pod=" + admin::percent_encoded(options.words.at(0));
}

std::string who(const json::value& side) {
    auto pod = text_at(side, "pod");
    return text_at(side, "address") + (pod.empty() ? "" : " " + pod);
}

bool good(const json::value& event) {
    const auto& value = at(event, "good");
    return value.is_bool() && value.get_bool();
}

std::string what(const json::value& event) {
    const auto kind = text_at(event, "event"), text = text_at(event, "text");
    const auto peer = text_at(event, "peer");
    const bool inbound = text_at(event, "direction") == "inbound";
    if (kind == "route") return "goes " + text + (peer.empty() ? "" : ", who must prove to be " + short_identity(peer));
    if (kind == "verdict")
        return (good(event) ? "let in, " : "refused, ") + text +
               (peer.empty() ? "; it comes in plaintext" : "; it proved to be " + short_identity(peer));
    if (kind == "refused") return "refused by the kernel at its SYN, " + text + "; it comes in plaintext";
    if (kind != "end") return kind + (text.empty() ? "" : ": " + text);
    auto ended = fmt::format("ended ({}), {} sent, {} received, {} ms", text_at(event, "reason"),
                             bytes(number_at(event, "bytes_sent")), bytes(number_at(event, "bytes_received")),
                             count_at(event, "duration_ms"));
    if (inbound && good(event)) return ended;
    return text.empty() ? ended : ended + ": " + text;
}

// "2026-11-27T08:00:00.123456Z" without the day, and no finer than people read.
std::string time_of_day(const std::string& time) {
    auto begin = time.find('T');
    return begin == std::string::npos ? time : time.substr(begin + 1, 12);
}

std::string show(const json::value& event, const Options&, const Screen&) {
    const auto kind = text_at(event, "event");
    if (kind == "tracing") return "tracing " + text_at(event, "pod") + "; Ctrl-C ends it\n";
    if (kind == "dropped") return "(" + count_at(event, "count") + " events were dropped: they came too fast)\n";
    auto text = fmt::format("{} {:<8} {} -> {}  {}\n", time_of_day(text_at(event, "time")), text_at(event, "direction"),
                            who(at(event, "source")), who(at(event, "destination")), what(event));
    std::ranges::replace_if(
        text, [](unsigned char c) { return (c < ' ' && c != '\n') || c == 0x7f; }, '?');
    return text;
}

}

const Command trace_command{.name = "trace",
                            .summary = "what is decided about a pod's connections, while it happens",
                            .options = {},
                            .word_count = 1,
                            .words_are = "POD",
                            .pods_first = 1,
                            .stream = stream,
                            .show = show};

}
