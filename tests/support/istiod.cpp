// SPDX-License-Identifier: Apache-2.0
#include "istiod.hpp"

#include <algorithm>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

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
    std::smatch port;
    const std::string text = log();
    if (!std::regex_search(text, port, std::regex{"\"port\": ([0-9]+)"}))
        throw std::runtime_error("istiod.py says no port: " + text);
    port_ = static_cast<std::uint16_t>(std::stoul(port[1]));
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
