// SPDX-License-Identifier: Apache-2.0
#include "node.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "janitor.hpp"
#include "outcome.hpp"
#include "pause.hpp"
#include "reasons.hpp"

namespace culvert::test {
namespace {

std::vector<Node*> living;

const SocketAddress metrics_door{*IpAddress::parse("127.0.0.1"), 15020};
const SocketAddress ready_door{*IpAddress::parse("127.0.0.1"), 15021};

std::string slurp(const std::string& path, std::size_t from = 0) {
    std::ifstream file{path};
    file.seekg(static_cast<std::streamoff>(from));
    if (!file) return {};
    return {std::istreambuf_iterator<char>{file}, {}};
}

std::string last_lines(const std::string& text, int lines) {
    auto at = text.size();
    while (at > 0 && lines-- > 0) {
        const auto newline = text.rfind('\n', at - 1);
        at = newline == std::string::npos || newline == 0 ? 0 : newline;
    }
    return text.substr(at);
}

std::string lines_with(const std::string& text, const std::string& word) {
    std::string found;
    std::istringstream all{text};
    for (std::string line; std::getline(all, line);)
        if (line.find(word) != std::string::npos) found += line + "\n";
    return found;
}

}

const std::string& culvertd() {
    static const std::string path = std::getenv("CULVERTD") != nullptr ? std::getenv("CULVERTD") : CULVERT_DAEMON;
    return path;
}

Node::Node(const Lab& lab, int number)
    : name_{lab.node_name(number)},
      number_{number},
      netns_{lab.node_netns(number)},
      config_{lab.folder() / (name_ + ".yaml")},
      log_{lab.folder() / (name_ + ".log")},
      access_log_{lab.folder() / (name_ + ".access")} {
    living.push_back(this);
}

Node::~Node() {
    std::erase(living, this);
    // A world of the case's own is gone before the case has ended: this is the last chance to say where to look.
    if (std::uncaught_exceptions() > 0 || this_case_failed()) std::fputs(where_to_look().c_str(), stderr);
    if (running()) {
        count_reasons();
        signal(SIGTERM);
        const bool hurried = !wait_exit(300ms);
        if (hurried) signal(SIGTERM);  // the second one: now, not after a drain
        const auto status = wait_exit(20s);
        const bool was_ending = hurried && status == 128 + SIGTERM;  // so late that nobody listened for it any more
        if (status != 0 && !was_ending)
            note_failure(name_ + (status ? " exited with " + std::to_string(*status) : " did not end") +
                         " at teardown\n" + where_to_look());
        if (!status) kill9();
    } else if (const auto status = wait_exit(0ms); status == 128 + SIGSEGV || status == 128 + SIGABRT) {
        note_failure(name_ + " has crashed, with " + std::to_string(*status) + "\n" + where_to_look());
    }
    if (!std::filesystem::exists(config_) && environment_.empty()) return;
    const Output left = cleanup();
    janitor::forget("run " + cleanup_command());
    if (left.status != 0) note_failure("cleanup of " + name_ + ": " + left.text);
}

std::string Node::cleanup_command() const {
    return culvertd() + " cleanup " + name_;
}

std::vector<std::string> Node::command(const std::string& binary) const {
    if (environment_.empty()) return {binary, "--config", config_};
    std::vector<std::string> words{"env"};
    words.insert(words.end(), environment_.begin(), environment_.end());
    words.push_back(binary);
    return words;
}

void Node::be_told_by(std::vector<std::string> environment) {
    if (environment_.empty()) janitor::remember("run " + cleanup_command());
    environment_ = std::move(environment);
    access_log_ = AccessLog{log_};
}

void Node::set_variable(const std::string& name, const std::string& value) {
    std::erase_if(environment_, [&](const auto& each) { return each.starts_with(name + "="); });
    environment_.push_back(name + "=" + value);
}

void Node::configure(const std::string& yaml) {
    if (!std::filesystem::exists(config_)) janitor::remember("run " + cleanup_command());
    const std::string fresh = config_ + ".fresh";
    std::ofstream{fresh} << yaml;
    std::filesystem::rename(fresh, config_);
}

void Node::launch(const std::string& binary) {
    daemon_ = Process(command(binary), netns_, log_);
}

void Node::wait_until_ready() {
    if (eventually(15s, [this] { return !running() || ready(); }) && running()) return;
    throw std::runtime_error(name_ + " did not get ready\n" + where_to_look());
}

void Node::start(const std::string& binary) {
    launch(binary);
    wait_until_ready();
}

Process Node::launch_successor(const std::string& binary) {
    Process old = std::move(daemon_);
    auto words = command(binary);
    words.push_back("--take-over");
    daemon_ = Process(words, netns_, log_);
    return old;
}

void Node::wait_until_taken_over() {
    const bool taken = eventually(20s, [this] { return !running() || says({"another culvertd has taken over"}, 0ms); });
    if (taken && eventually(15s, [this] { return !running() || ready(); }) && running()) return;
    throw std::runtime_error(name_ + " was not taken over\n" + where_to_look());
}

Process Node::start_successor(const std::string& binary) {
    Process old = launch_successor(binary);
    wait_until_taken_over();
    return old;
}

bool Node::ready() const {
    return http_get(netns_, ready_door, "/healthz/ready").status == 200;
}

std::string Node::readiness() const {
    const HttpAnswer page = http_get(netns_, ready_door, "/healthz/ready");
    return page.status == 0 ? "nobody answers" : std::to_string(page.status) + " " + page.body;
}

void Node::kill9() {
    count_reasons();
    signal(SIGKILL);
    wait_exit(5s);
}

void Node::pause() {
    test::pause(pid());
}

Output Node::cleanup() const {
    return run({culvertd(), "cleanup", name_}, netns_);
}

bool Node::says(const std::vector<std::string>& words, Milliseconds limit) {
    return eventually(limit, [&] {
        std::istringstream lines{slurp(log_, read_to_)};
        for (std::string line; std::getline(lines, line) && !lines.eof();) {
            const auto here = lines.tellg();
            if (!std::ranges::all_of(words, [&](const auto& word) { return line.find(word) != std::string::npos; }))
                continue;
            read_to_ += static_cast<std::size_t>(here);
            return true;
        }
        return false;
    });
}

Samples Node::metrics() const {
    return parse_samples(http_get(netns_, metrics_door, "/metrics").body);
}

void Node::count_reasons() const {
    reasons::add(name_, metrics());
}

std::size_t Node::resident_bytes() const {
    const std::string status = slurp("/proc/" + std::to_string(pid()) + "/status");
    const auto at = status.find("VmRSS:");
    return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + 6, nullptr, 10) * 1024;
}

std::map<std::string, Milliseconds> Node::thread_cpu() const {
    std::map<std::string, Milliseconds> threads;
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid()) + "/task")) {
        const std::string stat = slurp(task.path() / "stat");
        const auto open = stat.find('(');
        const auto close = stat.rfind(')');
        if (open == std::string::npos || close == std::string::npos) continue;
        std::istringstream rest{stat.substr(close + 2)};
        std::string skipped;
        for (int field = 3; field < 14; ++field) rest >> skipped;
        long user = 0;
        long system = 0;
        rest >> user >> system;
        threads[stat.substr(open + 1, close - open - 1) + "/" + task.path().filename().string()] =
            Milliseconds((user + system) * 1000 / ::sysconf(_SC_CLK_TCK));
    }
    return threads;
}

std::string Node::where_to_look() const {
    return "--- " + name_ + ": nsenter --net=/run/netns/" + name_ + "   configuration " + config_ +
           "\n--- the end of " + log_ + ":\n" + last_lines(slurp(log_), 25) +
           "\n--- the last errors in its access log:\n" +
           last_lines(lines_with(slurp(access_log_.path()), " error="), 10) + "\n";
}

std::vector<Node*> Node::all() {
    return living;
}

}
