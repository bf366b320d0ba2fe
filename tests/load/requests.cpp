// SPDX-License-Identifier: Apache-2.0
#include "requests.hpp"

#include <sys/prctl.h>
#include <sys/socket.h>

#include "watchdog.hpp"

namespace culvert::load {

Requests::Requests(const Options& options, Measurement& measurement)
    : measurement_{measurement},
      message_{options.bytes},
      answer_(options.bytes),
      interval_{options.rate > 0 ? static_cast<std::uint64_t>(1e9 / options.rate) : 0} {}

void Requests::add(Fd fd) {
    poller_.add(fd.get(), connections_.size(), EPOLLIN);
    connections_.push_back({std::move(fd), connections_.size() << 40});
}

void Requests::run() {
    begin();
    while (under_way_ > 0 || (open_loop() && !measurement_.is_over() && !free_.empty())) {
        const int n = wait();
        if (n < 0) return measurement_.failure(nothing_came());
        for (int i = 0; i < n; ++i) {
            Connection& connection = connections_[poller_.events[i].data.u64];
            if (connection.stalled && (poller_.events[i].events & EPOLLOUT) != 0) send_more(connection);
            if (connection.fd && (poller_.events[i].events & ~std::uint32_t{EPOLLOUT}) != 0) receive(connection);
        }
        if (open_loop()) request_what_is_due();
    }
    if (!open_loop()) return;
    const std::uint64_t behind = due_ < now() ? (now() - due_) / interval_ : 0;
    measurement_.note("behind", std::to_string(free_.empty() ? behind : 0));
}

void Requests::begin() {
    measurement_.begin();
    if (open_loop()) {
        ::prctl(PR_SET_TIMERSLACK, 1);  // the kernel's 50 us would be in every latency
        due_ = now();
        for (std::size_t i = 0; i < connections_.size(); ++i) free_.push_back(i);
        return request_what_is_due();
    }
    for (Connection& connection : connections_) request(connection, now());
}

int Requests::wait() {
    if (!open_loop() || free_.empty() || measurement_.is_over()) {
        const int n = poller_.wait();
        return n == 0 ? -1 : n;
    }
    progress();
    const std::uint64_t time = now();
    return poller_.wait_at_most(due_ > time ? due_ - time : 0);
}

void Requests::request_what_is_due() {
    for (;;) {
        const std::uint64_t time = now();
        if (!measurement_.goes_on(time) || due_ > time || free_.empty()) return;
        Connection& connection = connections_[free_.back()];
        free_.pop_back();
        request(connection, due_);
        due_ += interval_;
    }
}

void Requests::request(Connection& connection, std::uint64_t began) {
    ++under_way_;
    connection.restart(connection.stamp + 1, began);
    send_more(connection);
}

void Requests::send_more(Connection& connection) {
    auto all = connection.send_more(message_, "send");
    if (!all) return fail(connection, all.error());
    const bool stalls = !*all;
    if (stalls == connection.stalled) return;
    connection.stalled = stalls;
    poller_.change(connection.fd.get(), index_of(connection), stalls ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Requests::receive(Connection& connection) {
    auto all = connection.receive_more(message_, answer_);
    if (!all) return fail(connection, all.error());
    if (*all) answered(connection);
}

void Requests::answered(Connection& connection) {
    progress();
    --under_way_;
    const std::uint64_t time = now();
    if (!measurement_.goes_on(time)) return;
    measurement_.op(time - connection.began, message_.size());
    if (open_loop()) {
        free_.push_back(index_of(connection));
    } else {
        request(connection, now());
    }
}

void Requests::fail(Connection& connection, const base::Error& error) {
    measurement_.failure(error);
    // Between two requests of an open loop it is among the free ones.
    if (std::erase(free_, index_of(connection)) == 0) --under_way_;
    connection.fd.reset();
}

std::size_t Requests::index_of(const Connection& connection) const {
    return static_cast<std::size_t>(&connection - connections_.data());
}

}
