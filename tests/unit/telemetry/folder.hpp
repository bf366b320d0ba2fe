// SPDX-License-Identifier: Apache-2.0
// A folder of a test's own, and waiting for what a thread will do there.
#pragma once
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

class Folder {
public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "culvert_telemetry_XXXXXX").string();
        if (!::mkdtemp(name.data())) std::abort();
        path_ = name;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

inline std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream file{path};
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

// Polls, because what is waited for happens in another thread or process. False after ten seconds.
template <class Condition>
bool eventually(Condition condition) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (!condition()) {
        if (std::chrono::steady_clock::now() > limit) return false;
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    return true;
}
