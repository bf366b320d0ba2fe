// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <culvert/base/fd.hpp>

#include "janitor.hpp"

namespace culvert::test {
namespace {

[[noreturn]] void fail(const std::string& doing) {
    throw std::system_error(errno, std::system_category(), doing);
}

std::string joined(const std::vector<std::string>& words) {
    std::string line;
    for (const auto& word : words) line += (line.empty() ? "" : " ") + word;
    return line;
}

// Between fork and exec only what a signal handler may call: other threads are not here to let go of their locks.
pid_t spawn(const std::vector<std::string>& command, int netns, int output) {
    std::vector<char*> argv;
    for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);

    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child > 0) return child;
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    if (netns >= 0 && ::setns(netns, CLONE_NEWNET) != 0) ::_exit(126);
    ::close_range(3, ~0U, 0);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
}

int exit_code(int raw) {
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

}

Output run(const std::vector<std::string>& command, int netns, Milliseconds limit) {
    int raw[2];
    if (::pipe2(raw, O_CLOEXEC) != 0) fail("pipe");
    base::Fd read_end{raw[0]};
    base::Fd write_end{raw[1]};
    const pid_t child = spawn(command, netns, write_end.get());
    write_end.reset();

    Output output;
    Stopwatch watch;
    bool late = false;
    for (;;) {
        pollfd readable{read_end.get(), POLLIN, 0};
        const auto left = limit - watch.elapsed();
        late = left <= 0ms || ::poll(&readable, 1, static_cast<int>(left.count())) == 0;
        if (late) break;
        char chunk[4096];
        const ssize_t n = ::read(read_end.get(), chunk, sizeof chunk);
        if (n <= 0) break;
        output.text.append(chunk, static_cast<std::size_t>(n));
    }
    if (late) ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!late) output.status = exit_code(status);
    return output;
}

std::string must(const std::vector<std::string>& command, int netns, Milliseconds limit) {
    Output output = run(command, netns, limit);
    if (output.status != 0)
        throw std::runtime_error(joined(command) + ": status " + std::to_string(output.status) + ": " + output.text);
    return std::move(output.text);
}

Process::Process(const std::vector<std::string>& command, int netns, const std::string& output) {
    base::Fd file{::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
    if (!file) fail("open " + output);
    pid_ = spawn(command, netns, file.get());
    janitor::remember("pid " + std::to_string(pid_));
}

Process::Process(Process&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)}, status_{std::exchange(other.status_, std::nullopt)} {}

Process& Process::operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(status_, other.status_);
    return *this;
}

Process::~Process() {
    if (!running()) return;
    signal(SIGKILL);
    wait(5s);
}

bool Process::running() {
    return pid_ > 0 && !wait(0ms);
}

void Process::signal(int number) {
    if (pid_ > 0 && !status_) ::kill(pid_, number);
}

std::optional<int> Process::wait(Milliseconds limit) {
    if (pid_ <= 0 || status_) return status_;
    eventually(limit, [this] {
        int raw = 0;
        if (::waitpid(pid_, &raw, WNOHANG) != pid_) return false;
        status_ = exit_code(raw);
        janitor::forget("pid " + std::to_string(pid_));
        return true;
    });
    return status_;
}

}
