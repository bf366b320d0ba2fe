// SPDX-License-Identifier: Apache-2.0
#include "persona.hpp"

#include <linux/capability.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "janitor.hpp"

namespace culvert::test {
namespace {

constexpr int nobody = 65534;

void must_work(long result, const char* doing) {
    if (result != 0) throw std::system_error(errno, std::system_category(), doing);
}

}

void become_nobody() {
    must_work(::syscall(SYS_setresgid, nobody, nobody, nobody), "give up the group");
    must_work(::syscall(SYS_setresuid, nobody, nobody, nobody), "give up root");  // and with it every capability
}

void keep_only(std::initializer_list<int> capabilities) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    for (int capability : capabilities) {
        data[capability / 32].effective |= 1U << (capability % 32);
        data[capability / 32].permitted |= 1U << (capability % 32);
    }
    must_work(::syscall(SYS_capset, &header, data), "give up capabilities");
}

Child::Child(const std::function<int()>& body) : pid_{::fork()} {
    if (pid_ < 0) throw std::system_error(errno, std::system_category(), "fork");
    if (pid_ == 0) ::_exit(body());
    janitor::remember("pid " + std::to_string(pid_));
}

Child::~Child() {
    if (pid_ > 0) wait(0ms);
}

int Child::wait(Milliseconds limit) {
    int raw = 0;
    const bool ended = eventually(limit, [&] { return ::waitpid(pid_, &raw, WNOHANG) == pid_; });
    if (!ended) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &raw, 0);
    }
    janitor::forget("pid " + std::to_string(pid_));
    pid_ = -1;
    if (!ended) return -1;
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

}
