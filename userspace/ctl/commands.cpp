// SPDX-License-Identifier: Apache-2.0
#include "commands.hpp"

#include <fmt/format.h>

namespace culvert::ctl {
namespace {

constexpr char introduction[] = R"(culvertctl: what the culvertd of this node is doing

  culvertctl COMMAND [OPTION]...

)";

constexpr char ending[] = R"(
exit      0 done   1 no daemon answers, or it cannot   2 wrong usage   3 status: the node is not ready
          4 explain: it would be refused
)";

std::string lines_of(const std::vector<const Option*>& options) {
    std::string text;
    for (const Option* option : options) {
        auto name = fmt::format("{}{}{}", option->letter, option->letter.empty() ? "" : ", ", option->name);
        if (!option->argument.empty()) name += fmt::format(" {}", option->argument);
        text += fmt::format("  {:<24}{}\n", name, option->summary);
    }
    return text;
}

}

const std::vector<const Command*>& commands() {
    static const std::vector<const Command*> all{&status_command,   &pods_command,      &connections_command,
                                                 &policies_command, &explain_command,   &trace_command,
                                                 &reasons_command,  &completion_command};
    return all;
}

std::string help_text(const Command* command) {
    std::string text;
    if (command) {
        text = fmt::format("culvertctl {}: {}\n\n", command->name, command->summary);
        if (command->word_count > 0) text += fmt::format("  culvertctl {} {}\n\n", command->name, command->words_are);
        if (!command->options.empty()) text += lines_of(command->options) + "\n";
        return text + lines_of(common_options());
    }
    text = introduction;
    for (const Command* each : commands()) text += fmt::format("  {:<24}{}\n", each->name, each->summary);
    return text + "\n" + lines_of(common_options()) + "\nculvertctl COMMAND --help says which more a command has.\n" +
           ending;
}

}
