// SPDX-License-Identifier: Apache-2.0
#include "kernel_traces.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <culvert/base/fd.hpp>

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

// Empty for what is no link. Asked of the kernel: bpftool's words for links change with its version.
std::string link_id(const base::Fd& object) {
    std::ifstream told{"/proc/self/fdinfo/" + std::to_string(object.get())};
    std::string id;
    for (std::string word; told >> word;)
        if (word == "link_id:") told >> id;
    return id;
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
        const std::string id = link_id(base::Fd{bpf_obj_get(pin.path().c_str())});
        if (!id.empty()) links.push_back(pin.path().filename().string() + " " + id);
    }
    std::ranges::sort(links);
    return links;
}

std::vector<std::string> left_over_pins(const Node& node) {
    std::vector<std::string> olds;
    for (const auto& entry : std::filesystem::directory_iterator{pin_folder(node)})
        if (std::string name = entry.path().filename(); name.starts_with("old_")) olds.push_back(std::move(name));
    return olds;
}

std::vector<std::string> living_links(const std::vector<std::string>& links) {
    std::vector<std::string> living;
    for (const std::string& link : links) {
        const auto id = std::strtoul(link.c_str() + link.rfind(' '), nullptr, 10);
        if (base::Fd{bpf_link_get_fd_by_id(static_cast<std::uint32_t>(id))}) living.push_back(link);
    }
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
    for (const char* save : {"iptables-save", "ip6tables-save"})
        for (const std::string& line : lines_of(run({save}, pod.netns()).text))
            if (line.find("ISTIO") != std::string::npos) left += save + (" " + line) + "\n";
    for (const std::string& line : lines_of(must({"bpftool", "net", "show"}, pod.netns())))
        if (line.find("cv_") != std::string::npos) left += "program " + line + "\n";
    return left;
}

std::string dump_map(const Node& node, const std::string& map) {
    return must({"bpftool", "map", "dump", "pinned", pin_folder(node) + "/" + map});
}

}
