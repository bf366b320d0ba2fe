// SPDX-License-Identifier: Apache-2.0
#include "signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include <csignal>
#include <initializer_list>
#include <utility>

namespace culvert::node {
namespace {

sigset_t set_of(std::initializer_list<int> numbers) noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    for (int number : numbers) ::sigaddset(&set, number);
    return set;
}

sigset_t held() noexcept {
    return set_of({SIGTERM, SIGINT, SIGHUP});
}

}

void hold_signals() noexcept {
    const sigset_t set = held();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void let_signals_in() noexcept {
    const sigset_t set = held();
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

bool told_to_end_within(std::chrono::milliseconds time) noexcept {
    const sigset_t set = set_of({SIGTERM, SIGINT});
    const timespec limit{time.count() / 1000, time.count() % 1000 * 1'000'000};
    return ::sigtimedwait(&set, nullptr, &limit) > 0;
}

Signals::Signals(boost::asio::io_context& io, std::function<void(int)> on_signal)
    : descriptor_{io}, on_signal_{std::move(on_signal)} {}

base::Result<> Signals::open() {
    const sigset_t set = held();
    const int fd = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return base::errno_while("wait for signals");
    descriptor_.assign(fd);
    wait();
    return {};
}

void Signals::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code failed) {
        if (failed) return;
        signalfd_siginfo came{};
        while (::read(descriptor_.native_handle(), &came, sizeof came) == sizeof came)
            on_signal_(static_cast<int>(came.ssi_signo));
        wait();
    });
}

}
