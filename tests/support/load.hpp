// SPDX-License-Identifier: Apache-2.0
// Calls without end from one pod to one address, each a connection of its own that echoes a few bytes.
#pragma once
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lab.hpp"

namespace culvert::test {

class Load {
public:
    Load(const Pod& from, SocketAddress to, std::string text, int callers = 2);
    Load(const Load&) = delete;
    ~Load() { stop(); }
    void stop();

    int answered() const noexcept { return answered_; }
    int failed() const noexcept { return failed_; }
    std::string first_failure() const;
    // Waits for so many more answers; false when they do not come.
    bool goes_on(int more = 20, Milliseconds limit = 10s) const;

private:
    void call_on(const Pod& from, SocketAddress to, std::string text);

    std::atomic<int> answered_{0};
    std::atomic<int> failed_{0};
    std::atomic<bool> ending_{false};
    mutable std::mutex mutex_;
    std::string first_failure_;
    std::vector<std::thread> callers_;
};

}
