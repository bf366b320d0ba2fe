// SPDX-License-Identifier: Apache-2.0
#include "istiod.hpp"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "pause.hpp"

namespace culvert::test {
namespace {

bool has_all(const std::string& line, const std::vector<std::string>& words) {
    return std::all_of(words.begin(), words.end(),
                       [&](const std::string& word) { return line.find(word) != std::string::npos; });
}

std::vector<std::string> command(const std::filesystem::path& folder, const Istiod::Options& options) {
    std::vector<std::string> words{"/usr/bin/python3", CULVERT_SOURCE_DIR "/tests/support/istiod.py",
                                   "--home",           folder,
                                   "--listen",         options.listen,
                                   "--orders",         folder / "orders"};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    return words;
}

}

Istiod::Istiod(const std::filesystem::path& folder, const Options& options)
    : folder_{folder}, orders_{folder / "orders"} {
    std::filesystem::create_directories(folder);
    process_ = Process{command(folder, options), options.netns, folder / "log"};
    if (!eventually(20s, [&] { return !process_.running() || said({"\"listening\""}) > 0; }) || !process_.running())
        throw std::runtime_error("istiod.py does not listen: " + log());
    port_ = number_behind("\"port\"");
    plaintext_port_ = number_behind("\"plaintext\"");
}

std::uint16_t Istiod::number_behind(const std::string& key) const {
    const std::string text = log();
    const std::size_t at = text.find(key + ": ");
    if (at == std::string::npos) return 0;
    return static_cast<std::uint16_t>(std::stoul(text.substr(at + key.size() + 2)));
}

void Istiod::pause() {
    test::pause(process_.pid());
}

void Istiod::resume() {
    process_.signal(SIGCONT);
}

void Istiod::order(const std::string& json) {
    const std::size_t failed = said({"\"event\": \"failed\""});
    std::ofstream{orders_} << json << std::endl;
    ++given_;
    const bool answered = eventually(
        20s, [&] { return said({"\"event\": \"done\""}) >= given_ || said({"\"event\": \"failed\""}) > failed; });
    if (!answered || said({"\"event\": \"failed\""}) > failed)
        throw std::runtime_error("istiod.py did not do " + json + ": " + log());
}

std::size_t Istiod::said(const std::vector<std::string>& words) const {
    std::istringstream lines{log()};
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line);) count += has_all(line, words);
    return count;
}

bool Istiod::says(const std::vector<std::string>& words, Milliseconds limit) const {
    return eventually(limit, [&] { return said(words) > 0; });
}

std::string Istiod::log() const {
    std::ifstream file{folder_ / "log"};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}
