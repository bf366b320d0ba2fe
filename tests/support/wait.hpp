// SPDX-License-Identifier: Apache-2.0
// Waiting for the thing itself, never for "long enough".
#pragma once
#include <chrono>
#include <concepts>
#include <thread>

namespace culvert::test {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;

// True as soon as `done` is, false when it still is not after `limit`.
template <std::predicate Done>
bool eventually(Milliseconds limit, Done done) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
        if (std::chrono::steady_clock::now() >= end) return false;
        std::this_thread::sleep_for(2ms);
    }
    return true;
}

class Stopwatch {
public:
    Milliseconds elapsed() const {
        return std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - start_);
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}
