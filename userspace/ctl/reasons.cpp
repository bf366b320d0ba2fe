// SPDX-License-Identifier: Apache-2.0
// culvertctl reasons
#include <map>

#include "commands.hpp"
#include "figures.hpp"
#include "table.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

base::Result<json::value> ask(const Client& client, const Options&) {
    return client.get("/reasons");
}

json::value compare(const json::value& before, const json::value& now) {
    std::map<std::string, double> counts;
    for (const auto& reason : list_at(before, "reasons")) counts[text_at(reason, "name")] = number_at(reason, "count");
    double seconds = (number_at(now, "at_ns") - number_at(before, "at_ns")) / 1e9;
    json::array all = list_at(now, "reasons");
    for (auto& reason : all) {
        double more = number_at(reason, "count") - counts[text_at(reason, "name")];
        // A daemon that has started anew counts from 0.
        reason.as_object()["per_second"] = seconds > 0 && more > 0 ? more / seconds : 0.0;
    }
    return {{"seconds", seconds}, {"reasons", std::move(all)}};
}

std::string show(const json::value& answer, const Options& options, const Screen& screen) {
    using enum Column::Align;
    Table table{{{"REASON"}, {"PER SECOND", right}, {"COUNT", right}, {"WHAT IT MEANS"}}};
    for (const auto& reason : list_at(answer, "reasons"))
        if (options.all || number_at(reason, "count") > 0)
            table.add({text_at(reason, "name"), per_second(number_at(reason, "per_second")), count_at(reason, "count"),
                       text_at(reason, "text")});
    if (list_at(answer, "reasons").empty()) return "capture: iptables decides in rules, and counts no reasons\n";
    if (table.empty()) return "nothing has been decided yet; --all shows what there is to decide\n";
    return table.text(screen);
}

}

const Command reasons_command{.name = "reasons",
                              .summary = "what the kernel programs decide, and how often in a second",
                              .options = {&option::all, &option::watch, &option::interval},
                              .ask = ask,
                              .compare = compare,
                              .show = show};

}
