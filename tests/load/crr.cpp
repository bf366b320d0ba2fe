// SPDX-License-Identifier: Apache-2.0
// A connection for each request: connect, ask, read the answer, close. One at a time blocks; several are driven by
// readiness. We close first, with FIN, so the TIME_WAIT is ours.
#include <sys/socket.h>

#include <vector>

#include "measurement.hpp"
#include "modes.hpp"
#include "sockets.hpp"
#include "watchdog.hpp"

namespace culvert::load {
namespace {

// Where nothing works there is no use in going on.
constexpr std::uint64_t too_many_errors = 100;

Result<> visit(const SocketAddress& address, Message& message, std::uint64_t stamp, std::vector<char>& answer) {
    const auto fd = connect_to(address, true);
    if (!fd) return fd.error();
    return exchange(fd->get(), message, stamp, answer);
}

void one_at_a_time(const Options& options, Measurement& measurement) {
    Message message{options.bytes};
    std::vector<char> answer(options.bytes);
    measurement.begin();
    for (std::uint64_t stamp = 1;; ++stamp) {
        const std::uint64_t began = now();
        const auto fd = connect_to({options.host, options.ports.nth(stamp)}, true);
        const auto done = fd ? exchange(fd->get(), message, stamp, answer) : Result<>{fd.error()};
        if (!done) measurement.failure(done.error());
        if (measurement.errors() >= too_many_errors || is_stuck()) return;
        progress();
        const std::uint64_t time = now();
        if (!measurement.goes_on(time)) return;
        if (done) measurement.op(time - began, options.bytes);
    }
}

void each_once(const Options& options, Measurement& measurement) {
    Message message{options.bytes};
    std::vector<char> answer(options.bytes);
    measurement.begin_counting();
    for (std::size_t i = 0; i < options.each.size() && !is_stuck(); ++i) {
        const std::uint64_t began = now();
        const auto done = visit({options.each[i], options.ports.nth(i)}, message, i + 1, answer);
        if (done) {
            measurement.op(now() - began, options.bytes);
        } else {
            measurement.failure(done.error());
        }
        progress();
    }
    measurement.end();
}

class Visits {
public:
    Visits(const Options& options, Measurement& measurement)
        : options_{options},
          measurement_{measurement},
          message_{options.bytes},
          answer_(options.bytes),
          connections_(options.connections) {}
    void run();

private:
    void begin(Exchange& connection);
    void send_more(Exchange& connection);
    void receive(Exchange& connection);
    void finish(Exchange& connection, const Result<>& how);
    std::uint64_t index_of(const Exchange& connection) const {
        return static_cast<std::uint64_t>(&connection - connections_.data());
    }

    const Options& options_;
    Measurement& measurement_;
    const std::string connecting_{"connect to " + options_.host.to_string() + ", or send"};
    Message message_;
    std::vector<char> answer_;
    std::vector<Exchange> connections_;
    std::uint64_t begun_ = 0;
    std::size_t open_ = 0;
    Poller poller_;
};

void Visits::run() {
    measurement_.begin();
    for (Exchange& connection : connections_) begin(connection);
    while (open_ > 0) {
        const int n = poller_.wait();
        if (n == 0) return measurement_.failure(nothing_came());
        for (int i = 0; i < n; ++i) {
            Exchange& connection = connections_[poller_.events[i].data.u64];
            if (connection.sent < message_.size()) {
                send_more(connection);
            } else {
                receive(connection);
            }
        }
    }
}

// Until one is under way: a connect that fails at once is counted and tried again.
void Visits::begin(Exchange& connection) {
    while (measurement_.errors() < too_many_errors) {
        connection.restart(++begun_, now());
        auto fd = connect_to({options_.host, options_.ports.nth(begun_)}, false);
        if (fd) {
            poller_.add(fd->get(), index_of(connection), EPOLLOUT);
            connection.fd = std::move(*fd);
            ++open_;
            return;
        }
        measurement_.failure(fd.error());
    }
}

void Visits::send_more(Exchange& connection) {
    auto all = connection.send_more(message_, connecting_);
    if (!all) return finish(connection, all.error());
    if (*all) poller_.change(connection.fd.get(), index_of(connection), EPOLLIN);
}

void Visits::receive(Exchange& connection) {
    auto all = connection.receive_more(message_, answer_);
    if (!all) return finish(connection, all.error());
    if (*all) finish(connection, {});
}

void Visits::finish(Exchange& connection, const Result<>& how) {
    --open_;
    connection.fd.reset();
    progress();
    const std::uint64_t time = now();
    if (!how) measurement_.failure(how.error());
    if (!measurement_.goes_on(time)) return;
    if (how) measurement_.op(time - connection.began, options_.bytes);
    begin(connection);
}

}

int crr(const Options& options) {
    start_watchdog();
    Measurement measurement{options};
    if (!options.each.empty()) {
        each_once(options, measurement);
    } else if (options.connections == 1) {
        one_at_a_time(options, measurement);
    } else {
        Visits{options, measurement}.run();
    }
    return measurement.report();
}

}
