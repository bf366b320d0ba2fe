// SPDX-License-Identifier: Apache-2.0
#include "kernel_traces.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "process.hpp"

namespace culvert::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream split{text};
    for (std::string line; std::getline(split, line);)
        if (!line.empty()) lines.push_back(line);
    return lines;
}

// Our numbers are those of include/culvert/bpf/marks.h; here they are read off ip's output, so written as it prints
// them.
bool is_our_rule(const std::string& line) {
    return line.find("fwmark 0x11") != std::string::npos;
}

}

std::string pin_folder(const Node& node) {
    return "/sys/fs/bpf/culvert/" + std::filesystem::path{node.config_path()}.stem().string();
}

std::vector<std::string> pinned_links(const Node& node) {
    std::vector<std::string> links;
    std::error_code none;
    for (const auto& pin : std::filesystem::recursive_directory_iterator(pin_folder(node), none)) {
        if (pin.is_directory()) continue;
        const Output shown = run({"bpftool", "link", "show", "pinned", pin.path()});
        if (shown.status == 0 && std::atoi(shown.text.c_str()) > 0)
            links.push_back(pin.path().filename().string() + " " + shown.text.substr(0, shown.text.find(':')));
    }
    std::ranges::sort(links);
    return links;
}

std::vector<std::string> living_links(const std::vector<std::string>& links) {
    std::vector<std::string> living;
    for (const std::string& link : links)
        if (run({"bpftool", "link", "show", "id", link.substr(link.rfind(' ') + 1)}).status == 0)
            living.push_back(link);
    return living;
}

std::string left_in(const Pod& pod) {
    std::string left;
    for (const char* family : {"-4", "-6"}) {
        for (const std::string& rule : lines_of(must({"ip", family, "rule"}, pod.netns())))
            if (is_our_rule(rule)) left += "rule " + rule + "\n";
        // An empty table may not exist at all, which is an error to ip.
        for (const std::string& route :
             lines_of(run({"ip", family, "route", "show", "table", "100"}, pod.netns()).text))
            if (route.starts_with("local")) left += "route " + route + "\n";
    }
    for (const std::string& line : lines_of(must({"bpftool", "net", "show"}, pod.netns())))
        if (line.find("cv_") != std::string::npos) left += "program " + line + "\n";
    return left;
}

std::string dump_map(const Node& node, const std::string& map) {
    return must({"bpftool", "map", "dump", "pinned", pin_folder(node) + "/" + map});
}

}
