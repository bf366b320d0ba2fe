// SPDX-License-Identifier: Apache-2.0
// culvertctl completion: scripts for shells, made from the same rows as the help.
//
//   source <(culvertctl completion bash)
#include <fmt/format.h>

#include "commands.hpp"

namespace culvert::ctl {
namespace {

namespace json = boost::json;

std::string names_of(const std::vector<const Option*>& options) {
    std::string names;
    for (const Option* option : options) {
        names += fmt::format(" {}", option->name);
        if (!option->letter.empty()) names += fmt::format(" {}", option->letter);
    }
    return names;
}

std::string joined(const std::vector<std::string_view>& words) {
    std::string text;
    for (auto word : words) text += fmt::format("{}{}", text.empty() ? "" : " ", word);
    return text;
}

// Asked of the daemon when somebody presses TAB; without one there is nothing to offer.
constexpr std::string_view bash_helpers = R"bash(_culvertctl_pods() {
    culvertctl "$@" pods -o json 2>/dev/null | grep -o '"namespace":"[^"]*"\|"name":"[^"]*"' |
        awk -F'"' '$2 == "name" {name = $4} $2 == "namespace" {print $4 "/" name}'
}

_culvertctl_nodes() {
    local path
    for path in /run/culvert/*/culvertd.sock; do
        [[ ! -S $path ]] || basename "$(dirname "$path")"
    done
}
)bash";

std::string option_cases(const std::vector<const Option*>& options) {
    std::string text;
    for (const Option* option : options) {
        if (option->argument.empty()) continue;
        auto pattern = fmt::format("{}{}{}", option->name, option->letter.empty() ? "" : "|", option->letter);
        std::string offer = "return";
        if (!option->values.empty()) offer = fmt::format("offer=\"{}\"", joined(option->values));
        if (option->argument == "PATH") offer = "mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return";
        if (option->argument == "NAME") offer = "offer=$(_culvertctl_nodes)";
        if (option->argument == "POD") offer = "offer=$(_culvertctl_pods \"${where[@]}\")";
        text += fmt::format("        {}) {} ;;\n", pattern, offer);
    }
    return text;
}

std::string bash_script() {
    std::string names, cases;
    for (const Command* command : commands()) {
        names += fmt::format("{}{}", names.empty() ? "" : " ", command->name);
        auto words = joined(command->words);
        auto pods = command->pods_first == 0
                        ? ""
                        : fmt::format("; ((words >= {})) || offer+=\" $(_culvertctl_pods \"${{where[@]}}\")\"",
                                      command->pods_first);
        cases += fmt::format("            {}) offer=\"{}{}\"{} ;;\n", command->name, words, names_of(command->options),
                             pods);
    }
    std::vector<const Option*> with_argument = common_options();
    std::string valued = "-o|--output";
    for (const Option* option : {&option::interval, &option::pod, &option::limit}) {
        with_argument.push_back(option);
        valued += fmt::format("|{}|{}", option->letter, option->name);
    }
    return fmt::format(R"(# bash completion of culvertctl: source <(culvertctl completion bash)
{helpers}
_culvertctl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command="" offer="" words=0 i
    local -a where=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; ++i)); do
        case ${{COMP_WORDS[i]}} in
            -s|--socket|-n|--node) where=("${{COMP_WORDS[i]}}" "${{COMP_WORDS[i+1]}}"); ((++i)) ;;
            {valued}) ((++i)) ;;
            -*) ;;
            *) if [[ $command ]]; then ((++words)); else command=${{COMP_WORDS[i]}}; fi ;;
        esac
    done
    case $before in
{values}    *)
        case $command in
            "") offer="{names}" ;;
{cases}        esac
        [[ $word != -* ]] || offer+="{common}" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$word")
}}
complete -F _culvertctl culvertctl
)",
                       fmt::arg("helpers", bash_helpers), fmt::arg("values", option_cases(with_argument)),
                       fmt::arg("names", names), fmt::arg("cases", cases), fmt::arg("valued", valued),
                       fmt::arg("common", names_of(common_options())));
}

// In single quotes within a line of _arguments.
std::string zsh_line(const Option& option) {
    std::string forms =
        option.letter.empty() ? std::string{option.name} : fmt::format("'{{{},{}}}'", option.letter, option.name);
    std::string value;
    if (!option.values.empty())
        value = fmt::format(":{}:({})", option.argument, joined(option.values));
    else if (option.argument == "PATH")
        value = ":PATH:_files";
    else if (!option.argument.empty())
        value = fmt::format(":{}:", option.argument);
    return fmt::format("'{}[{}]{}'", forms, option.summary, value);
}

std::string zsh_lines(const std::vector<const Option*>& options) {
    std::string text;
    for (const Option* option : options) text += " \\\n                " + zsh_line(*option);
    return text;
}

std::string zsh_script() {
    std::string names, cases;
    for (const Command* command : commands()) {
        names += fmt::format("        '{}:{}'\n", command->name, command->summary);
        auto words =
            command->words.empty() ? "" : fmt::format(" \\\n                ':WORD:({})'", joined(command->words));
        cases += fmt::format("            {}) _arguments $common{}{} ;;\n", command->name, zsh_lines(command->options),
                             words);
    }
    return fmt::format(R"(#compdef culvertctl
# zsh completion of culvertctl: culvertctl completion zsh > "${{fpath[1]}}/_culvertctl"
_culvertctl() {{
    local -a commands common
    local state line
    commands=(
{names}    )
    common=({common}
    )
    _arguments -C $common ':command:->command' '*::option:->rest'
    case $state in
        command) _describe command commands ;;
        rest)
        case $line[1] in
{cases}        esac ;;
    esac
}}
compdef _culvertctl culvertctl
)",
                       fmt::arg("names", names), fmt::arg("common", zsh_lines(common_options())),
                       fmt::arg("cases", cases));
}

base::Result<json::value> ask(const Client&, const Options& options) {
    return json::value{{"script", options.words.at(0) == "zsh" ? zsh_script() : bash_script()}};
}

std::string show(const json::value& answer, const Options&, const Screen&) {
    const auto& script = answer.at("script").as_string();
    return {script.data(), script.size()};
}

}

const Command completion_command{.name = "completion",
                                 .summary = "a script that makes a shell complete this: bash, zsh",
                                 .options = {},
                                 .word_count = 1,
                                 .words_are = "bash or zsh",
                                 .words = {"bash", "zsh"},
                                 .ask = ask,
                                 .show = show,
                                 .asks_nobody = true};
}
