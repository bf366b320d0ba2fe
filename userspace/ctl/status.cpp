// SPDX-License-Identifier: Apache-2.0
// culvertctl status
#include <fmt/format.h>

#include "commands.hpp"
#include "figures.hpp"
#include "screen.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

bool ready(const json::value& answer) {
    const auto& value = at(answer, "ready");
    return value.is_bool() && value.get_bool();
}

std::string pending(const json::value& answer) {
    std::string parts;
    for (const auto& part : list_at(answer, "pending")) parts += (parts.empty() ? "" : ", ") + text_at(part, "");
    return parts;
}

std::string pods(const json::value& answer) {
    auto text = count_at(answer, "pods.in_mesh") + " in the mesh";
    if (auto waiting = count_at(answer, "pods.waiting"); waiting != "0")
        text += ", " + waiting + " waiting (culvertctl pods says for what)";
    return text;
}

std::string configuration(const json::value& answer) {
    return fmt::format("{}, applied {} times since the start, refused {}; the last change at {}",
                       text_at(answer, "config.file"), count_at(answer, "config.applied"),
                       count_at(answer, "config.refused"), text_at(answer, "config.last_change"));
}

std::string repairs(const json::value& answer) {
    std::string text;
    for (const auto& repair : list_at(answer, "repairs"))
        if (number_at(repair, "count") > 0)
            text +=
                fmt::format("{}{} {}", text.empty() ? "" : ", ", count_at(repair, "count"), text_at(repair, "part"));
    return text.empty() ? "none" : text;
}

std::string access_log(const json::value& answer) {
    auto text = count_at(answer, "access_log.written") + " lines written";
    for (std::string what : {"dropped", "lost", "write_errors"})
        if (auto count = count_at(answer, "access_log." + what); count != "0")
            text += ", " + count + (what == "write_errors" ? " writes failed" : " " + what);
    return text;
}

base::Result<json::value> ask(const Client& client, const Options&) {
    return client.get("/status");
}

std::string show(const json::value& answer, const Options&, const Screen&) {
    std::string text;
    auto line = [&text](std::string_view name, const std::string& value) {
        text += fmt::format("{:<15}{}\n", name, value);
    };
    line("node", text_at(answer, "node"));
    line("state", ready(answer) ? "ready" : "not ready, waits for: " + pending(answer));
    line("version", fmt::format("{} ({}), pid {}", text_at(answer, "version"), text_at(answer, "commit"),
                                count_at(answer, "pid")));
    line("up", time_span(number_at(answer, "uptime_seconds")));
    line("capture", text_at(answer, "capture"));
    line("pods", pods(answer));
    line("connections", fmt::format("{} on {} workers", count_at(answer, "connections"), count_at(answer, "workers")));
    line("tunnels", fmt::format("{} to peers, {} from peers", count_at(answer, "tunnels.to_peers"),
                                count_at(answer, "tunnels.from_peers")));
    line("configuration", configuration(answer));
    if (auto error = text_at(answer, "config.error"); !error.empty())
        line("", error + " (what was there before is in force)");
    line("repairs", repairs(answer));
    line("access log", access_log(answer));
    return text;
}

int exit_status(const json::value& answer) {
    return ready(answer) ? fine : not_ready;
}

}

const Command status_command{.name = "status",
                             .summary = "the daemon, its configuration, what it waits for",
                             .options = {&option::watch, &option::interval},
                             .ask = ask,
                             .show = show,
                             .exit_status = exit_status};

}
