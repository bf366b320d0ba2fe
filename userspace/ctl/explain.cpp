// SPDX-License-Identifier: Apache-2.0
// culvertctl explain SRC DST PORT
#include <charconv>

#include <fmt/format.h>

#include <culvert/admin/query.hpp>

#include "commands.hpp"
#include "figures.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

std::string check(const std::vector<std::string>& words) {
    unsigned port = 0;
    const std::string& text = words.at(2);
    auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool is_port = failed == std::errc{} && stop == text.data() + text.size() && port > 0 && port < 65536;
    return is_port ? "" : "SRC DST PORT, and \"" + text + "\" is no port from 1 to 65535";
}

base::Result<json::value> ask(const Client& client, const Options& options) {
    return client.get("/explain?source=" + admin::percent_encoded(options.words.at(0)) +
                      "&destination=" + admin::percent_encoded(options.words.at(1)) + "&port=" + options.words.at(2));
}

bool is_set(const json::value& answer, std::string_view flag) {
    const auto& value = at(answer, flag);
    return value.is_bool() && value.get_bool();
}

std::string who(const json::value& party) {
    auto service = text_at(party, "service"), pod = text_at(party, "pod");
    auto name = service.empty() ? pod : service;
    auto address = text_at(party, "address");
    return name.empty() ? address : name + " " + address;
}

std::string source(const json::value& party) {
    const auto text = who(party), identity = short_identity(text_at(party, "identity"));
    if (text_at(party, "pod").empty()) return text + ", whom the mesh does not know";
    if (text_at(party, "identity").empty()) return text + ", not in the mesh";
    if (!is_set(party, "here")) return text + ", not a pod of this node, as " + identity;
    return text + ", " + text_at(party, "state") + " here as " + identity;
}

// Of a flag; without one nobody here can say.
std::string yes_or_no(const json::value& answer, std::string_view flag, std::string_view why) {
    if (!at(answer, flag).is_bool()) return fmt::format("not known here, {}", why);
    return fmt::format("{}, {}", is_set(answer, flag) ? "yes" : "no", why);
}

std::string joined(const json::array& list) {
    std::string text;
    for (const auto& one : list) text += (text.empty() ? "" : ", ") + text_at(one, "");
    return text;
}

std::string way(const json::value& endpoint) {
    auto pod = text_at(endpoint, "pod");
    auto text = (pod.empty() ? "" : pod + " ") + text_at(endpoint, "address");
    if (text_at(endpoint, "path") != "HBONE") return text + ", in plaintext";
    std::string must_be;
    for (const auto& identity : list_at(endpoint, "must_be"))
        must_be += (must_be.empty() ? "" : " or ") + short_identity(text_at(identity, ""));
    return text + ", by HBONE to " + text_at(endpoint, "next_hop") + ", who must prove to be " + must_be;
}

std::string decision(const json::value& endpoint) {
    auto by = text_at(endpoint, "decided_by");
    auto text = yes_or_no(endpoint, "allowed", text_at(endpoint, "why"));
    if (by == "nobody" && is_set(endpoint, "allowed")) return "yes, no policy is asked: " + text_at(endpoint, "why");
    if (by == "nobody" || by == "this node") return text;
    auto node = text_at(endpoint, "node");
    return text + " (its own node decides" + (node.empty() ? "" : ", " + node) + ": this is by what this node has)";
}

std::string show(const json::value& answer, const Options&, const Screen&) {
    std::string text;
    auto line = [&text](std::string_view name, const std::string& value) {
        text += fmt::format("{:<13}{}\n", name, value);
    };
    line("source", source(at(answer, "source")));
    line("destination", who(at(answer, "destination")));
    line("captured", yes_or_no(answer, "captured", text_at(answer, "why")));
    if (auto error = text_at(answer, "error"); !error.empty()) line("goes nowhere", error);
    if (auto unknown = text_at(answer, "unknown"); !unknown.empty()) line("goes to", "not known here, " + unknown);
    if (auto by = text_at(answer, "answered"); !by.empty()) line("answered by", by);
    const auto& endpoints = list_at(answer, "endpoints");
    if (endpoints.size() > 1) line("goes to", fmt::format("one of {}, by chance and capacity", endpoints.size()));
    for (const auto& endpoint : endpoints) {
        line(endpoints.size() > 1 ? "" : "goes to", way(endpoint));
        line(endpoints.size() > 1 ? "  allowed" : "allowed", decision(endpoint));
        for (const auto& note : list_at(endpoint, "notes")) line("  note", text_at(note, ""));
        for (const auto& dry : list_at(endpoint, "dry_runs"))
            line("  dry run", text_at(dry, "policy") + " would match: " + text_at(dry, "action"));
        if (auto names = joined(list_at(endpoint, "unknown_policies")); !names.empty())
            line("  unknown", names + ": named by the workload, nobody has it, ignored (unknownPolicy: allow)");
    }
    return text;
}

int exit_status(const json::value& answer) {
    const auto& allowed = at(answer, "allowed");
    return allowed.is_bool() && !allowed.get_bool() ? would_be_refused : fine;
}

}

const Command explain_command{
    .name = "explain",
    .summary = "what would become of a connection: who takes it, where to, which rule says so",
    .options = {},
    .word_count = 3,
    .words_are = "SRC DST PORT",
    .pods_first = 2,
    .check = check,
    .ask = ask,
    .show = show,
    .exit_status = exit_status};

}
