// SPDX-License-Identifier: Apache-2.0
// Doing something as somebody else: without root's rights, with a few of them, in a process of its own.
#pragma once
#include <exception>
#include <functional>
#include <initializer_list>
#include <thread>

#include "wait.hpp"

namespace culvert::test {

// This thread's own user and capabilities, for good: the C library's setuid() would change all threads.
void become_nobody();
void keep_only(std::initializer_list<int> capabilities);

// Runs `body` in a thread that `change` has changed first. Throws what they throw.
template <std::invocable Change, std::invocable Body>
void as(Change change, Body body) {
    std::exception_ptr failure;
    std::thread{[&] {
        try {
            change();
            body();
        } catch (...) {
            failure = std::current_exception();
        }
    }}.join();
    if (failure) std::rethrow_exception(failure);
}

// A child process of this one, which has other threads: `body` may make system calls and little else. Its answer
// becomes the exit code; 128 + signal when it was killed, -1 when it outlived the limit (and was killed).
class Child {
public:
    explicit Child(const std::function<int()>& body);
    Child(const Child&) = delete;
    ~Child();
    int wait(Milliseconds limit = 20s);
    pid_t pid() const noexcept { return pid_; }

private:
    pid_t pid_;
};

}
