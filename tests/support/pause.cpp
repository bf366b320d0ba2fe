// SPDX-License-Identifier: Apache-2.0
#include "pause.hpp"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "wait.hpp"

namespace culvert::test {

void pause(pid_t process) {
    ::kill(process, SIGSTOP);
    const std::string tasks = "/proc/" + std::to_string(process) + "/task";
    const auto stopped = [&] {
        for (const auto& task : std::filesystem::directory_iterator(tasks)) {
            std::ifstream file{task.path() / "stat"};
            const std::string stat{std::istreambuf_iterator<char>{file}, {}};
            if (stat.find(") T ") == std::string::npos) return false;
        }
        return true;
    };
    if (!eventually(5s, stopped)) throw std::runtime_error("process " + std::to_string(process) + " does not stop");
}

}
