// SPDX-License-Identifier: Apache-2.0
#include "reasons.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "node.hpp"
#include "outcome.hpp"

namespace culvert::test {

ReasonCount::ReasonCount(const Node& node, const std::string& reason)
    : node_{node}, metric_{"culvert_capture_decisions_total{reason=\"" + reason + "\"}"}, before_{now()} {}

std::uint64_t ReasonCount::now() const {
    return static_cast<std::uint64_t>(total(node_.metrics(), metric_));
}

std::uint64_t ReasonCount::rise() const {
    return now() - before_;
}

bool ReasonCount::rises(std::uint64_t by, Milliseconds limit) const {
    return capture_mode() != "ebpf" || eventually(limit, [&] { return rise() >= by; });
}

}

namespace culvert::test::reasons {
namespace {

using Counts = std::map<std::string, std::uint64_t>;

// Pinned counters outlive a daemon, so a restarted one reports the earlier one's again.
std::map<std::string, Counts> by_instance;

std::string own_file() {
    const char* folder = std::getenv("CULVERT_REASONS_DIR");
    return folder == nullptr || capture_mode() != "ebpf"
               ? ""
               : std::string{folder} + "/" + std::to_string(::getpid()) + ".reasons";
}

void add_up(Counts& sum, const Counts& more) {
    for (const auto& [name, count] : more) sum[name] += count;
}

Counts own() {
    for (const Node* node : Node::all()) add("living " + node->config_path(), node->metrics());
    Counts sum;
    for (const auto& [instance, counts] : by_instance) add_up(sum, counts);
    return sum;
}

}

void add(const std::string& instance, const Samples& samples) {
    const std::string metric = "culvert_capture_decisions_total{";
    for (const auto& [name, value] : samples) {
        const auto label = name.find("reason=\"");
        if (!name.starts_with(metric) || label == std::string::npos) continue;
        const auto start = label + 8;
        auto& count = by_instance[instance][name.substr(start, name.find('"', start) - start)];
        count = std::max(count, static_cast<std::uint64_t>(value));
    }
}

Counts table() {
    Counts sum = own();
    if (own_file().empty()) return sum;
    std::error_code nobody_else;
    for (const auto& file : std::filesystem::directory_iterator(std::getenv("CULVERT_REASONS_DIR"), nobody_else)) {
        if (file.path().extension() != ".reasons" || file.path() == own_file()) continue;
        std::ifstream lines{file.path()};
        std::string name;
        for (std::uint64_t count = 0; lines >> name >> count;) sum[name] += count;
    }
    return sum;
}

void save() {
    if (own_file().empty()) return;
    std::filesystem::create_directories(std::getenv("CULVERT_REASONS_DIR"));
    std::ofstream file{own_file()};
    for (const auto& [name, count] : own()) file << name << " " << count << "\n";
}

}
