// SPDX-License-Identifier: Apache-2.0
// culvertctl policies
#include <fmt/format.h>

#include "commands.hpp"
#include "figures.hpp"
#include "table.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

base::Result<json::value> ask(const Client& client, const Options&) {
    return client.get("/policies");
}

bool is_set(const json::value& policy, std::string_view flag) {
    const auto& value = at(policy, flag);
    return value.is_bool() && value.get_bool();
}

std::string state(const json::value& policy, bool refused) {
    if (is_set(policy, "awaited")) return "awaited";
    if (is_set(policy, "unknown")) return "unknown";
    if (is_set(policy, "dry_run")) return "dry run";
    return refused ? "last good" : "in force";
}

std::string first_of(const json::value& policy) {
    constexpr std::size_t enough = 40;
    std::string text;
    std::size_t shown = 0;
    for (const auto& workload : list_at(policy, "applies_to.first")) {
        if (text.size() > enough) break;
        text += (shown++ == 0 ? "" : ", ") + text_at(workload, "");
    }
    return std::to_string(shown) == count_at(policy, "applies_to.count") ? text : text + ", …";
}

std::string show(const json::value& answer, const Options&, const Screen& screen) {
    using enum Column::Align;
    Table table{{{"POLICY", left, 20},
                 {"SCOPE"},
                 {"ACTION"},
                 {"STATE"},
                 {"RULES", right},
                 {"HITS", right},
                 {"WORKLOADS", right},
                 {"WHICH", left, 12}}};
    const auto refused = text_at(answer, "refused");
    std::string notes;
    for (const auto& policy : list_at(answer, "policies")) {
        auto name = text_at(policy, "namespace") + "/" + text_at(policy, "name");
        if (is_set(policy, "unknown"))
            notes += name + " is named by a workload, and nobody has it: something that refuses is in its place\n";
        table.add({name, text_at(policy, "scope"), text_at(policy, "action"), state(policy, !refused.empty()),
                   count_at(policy, "rules"), count_at(policy, "hits"), count_at(policy, "applies_to.count"),
                   first_of(policy)});
    }
    for (const auto& name : list_at(answer, "ignored"))
        notes += text_at(name, "") + " is named by a workload, and nobody has it: ignored (unknownPolicy: allow)\n";
    if (!refused.empty()) notes += refused + "\n(refused; what is shown is the last good file's, and in force)\n";
    return (table.empty() ? "no policies: all may talk to all\n" : table.text(screen)) + notes;
}

}

const Command policies_command{.name = "policies",
                               .summary = "who may talk to whom, and how often each policy decided",
                               .options = {&option::watch, &option::interval},
                               .ask = ask,
                               .show = show};

}
