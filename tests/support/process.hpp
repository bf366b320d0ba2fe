// SPDX-License-Identifier: Apache-2.0
// Commands and daemons of the tests: started by us, inside a network namespace where that is asked for.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "wait.hpp"

namespace culvert::test {

struct Output {
    int status = -1;   // exit code; 128 + signal when killed; -1 when it outlived the limit (and was killed)
    std::string text;  // standard output and error together
};

// Runs to the end. `netns` borrowed, -1: stay here.
Output run(const std::vector<std::string>& command, int netns = -1, Milliseconds limit = 30s);
// As run(), for setups: throws with the command and its output when it fails.
std::string must(const std::vector<std::string>& command, int netns = -1, Milliseconds limit = 30s);

// A child process that goes when its owner does (SIGKILL), reaped once.
class Process {
public:
    Process() = default;
    // Output goes to the file, which is appended to.
    Process(const std::vector<std::string>& command, int netns, const std::string& output);
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    ~Process();

    pid_t pid() const noexcept { return pid_; }
    bool running();
    void signal(int number);
    // Exit code as in Output, or nothing when it still runs after `limit`.
    std::optional<int> wait(Milliseconds limit);

private:
    pid_t pid_ = -1;
    std::optional<int> status_;
};

}
