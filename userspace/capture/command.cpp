// SPDX-License-Identifier: Apache-2.0
#include "command.hpp"

#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <culvert/base/fd.hpp>

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

// Streams of the child are files in memory: nobody has to read while another writes, so nothing can lock up.
Result<Fd> memory_file(const std::string& text) {
    Fd file{::memfd_create("command", MFD_CLOEXEC)};
    if (!file) return base::errno_while("make a file in memory");
    for (std::size_t done = 0; done < text.size();) {
        auto n = ::write(file.get(), text.data() + done, text.size() - done);
        if (n < 0) return base::errno_while("write to a file in memory");
        done += static_cast<std::size_t>(n);
    }
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
}

std::string contents(int file) {
    std::string text;
    char part[4096];
    for (off_t at = 0;; at = static_cast<off_t>(text.size())) {
        auto n = ::pread(file, part, sizeof part, at);
        if (n <= 0) return text;
        text.append(part, static_cast<std::size_t>(n));
    }
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
    std::vector<char*> raw;
    for (const std::string& one : words) raw.push_back(const_cast<char*>(one.c_str()));
    raw.push_back(nullptr);
    return raw;
}

Result<pid_t> start(const Command& command, int in, int out, int err) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    // What this process ignores or blocks is its own affair.
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t child = -1;
    int error = ::posix_spawn(&child, command.words[0].c_str(), &files, &attributes, pointers(command.words).data(),
                              pointers(command.environment).data());
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) return base::errno_while("start " + command.words[0], error);
    return child;
}

// Its wait status; killed when late.
Result<int> end_of(pid_t child, const Command& command) {
    Fd handle{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
    pollfd ended{.fd = handle.get(), .events = POLLIN};
    auto until = std::chrono::steady_clock::now() + command.limit;
    int ready = 0;
    do {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
        ready = ::poll(&ended, 1, left > 0 ? static_cast<int>(left) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return base::errno_while("wait for " + command.words[0]);
    if (ready <= 0)
        return base::problem(command.words[0] + " did not end within " + std::to_string(command.limit.count()) + " ms");
    return status;
}

// In one line, for a log.
std::string in_one_line(const std::string& text) {
    std::istringstream lines{text};
    std::string all;
    for (std::string line; std::getline(lines, line);) {
        while (!line.empty() && line.back() == ' ') line.pop_back();
        if (line.empty() || line.starts_with("Try `") || line.starts_with('#')) continue;
        all += (all.empty() ? "" : " ") + line;
    }
    return all.substr(0, 400);
}

}

std::string find_program(const std::string& name) {
    const char* path = std::getenv("PATH");
    std::istringstream folders{std::string{path ? path : ""} + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"};
    for (std::string folder; std::getline(folders, folder, ':');) {
        std::string candidate = folder + "/" + name;
        if (folder.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    return {};
}

Result<std::string> run(const Command& command) {
    auto in = memory_file(command.input);
    if (!in) return in.error();
    auto out = memory_file({});
    if (!out) return out.error();
    auto err = memory_file({});
    if (!err) return err.error();
    auto child = start(command, in->get(), out->get(), err->get());
    if (!child) return child.error();
    auto status = end_of(*child, command);
    if (!status) return status.error();
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return contents(out->get());
    std::string said = in_one_line(contents(err->get()));
    if (said.empty())
        said = WIFSIGNALED(*status) ? "killed by signal " + std::to_string(WTERMSIG(*status))
                                    : "exit status " + std::to_string(WEXITSTATUS(*status));
    return base::problem(std::filesystem::path{command.words[0]}.filename().string() + ": " + said);
}

}
