// SPDX-License-Identifier: Apache-2.0
// Opens connections, sees that each one works, and keeps them until somebody says enough.
#include <signal.h>
#include <sys/signalfd.h>

#include <vector>

#include <fmt/format.h>

#include "measurement.hpp"
#include "modes.hpp"
#include "sockets.hpp"
#include "watchdog.hpp"

namespace culvert::load {
namespace {

constexpr std::uint64_t enough = ~std::uint64_t{0};

// How many died meanwhile: nobody sends on them, so whatever comes is an end.
std::size_t keep(std::vector<Fd>& connections, int ended) {
    Poller poller;
    poller.add(ended, enough, EPOLLIN);
    poller.add_if_possible(STDIN_FILENO, enough, EPOLLIN);
    for (std::size_t i = 0; i < connections.size(); ++i) poller.add(connections[i].get(), i, EPOLLIN | EPOLLRDHUP);
    for (std::size_t died = 0;;) {
        const int n = poller.wait();
        for (int i = 0; i < n; ++i) {
            if (poller.events[i].data.u64 == enough) return died;
            connections[poller.events[i].data.u64].reset();
            ++died;
        }
    }
}

Fd when_told_to_end() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    return Fd{::signalfd(-1, &signals, SFD_CLOEXEC)};
}

}

int hold(const Options& options) {
    start_watchdog();
    const Fd ended = when_told_to_end();
    Measurement measurement{options};
    Message message{options.bytes};
    std::vector<char> answer(options.bytes);
    std::vector<Fd> connections;
    measurement.begin_counting();
    for (std::size_t i = 0; i < options.connections; ++i) {
        const std::uint64_t began = now();
        auto fd = connect_to({options.host, options.ports.nth(i)}, true);
        const auto done = fd ? exchange(fd->get(), message, i + 1, answer) : Result<>{fd.error()};
        if (!done) {
            measurement.failure(done.error());
            break;
        }
        progress();
        measurement.op(now() - began, options.bytes);
        connections.push_back(std::move(*fd));
    }
    measurement.end();
    fmt::print("{{\"held\": {}}}\n", connections.size());
    std::fflush(stdout);
    stop_watchdog();
    const std::size_t held = connections.size();
    // Not all of them: there is nothing to wait for.
    const std::size_t died = measurement.errors() > 0 ? 0 : keep(connections, ended.get());
    for (std::size_t i = 0; i < died; ++i) measurement.failure(base::problem("a held connection died"));
    measurement.note("held", std::to_string(held));
    measurement.note("died", std::to_string(died));
    return measurement.report();
}

}
