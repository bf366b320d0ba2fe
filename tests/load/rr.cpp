// SPDX-License-Identifier: Apache-2.0
// Requests on connections that stay. One connection of a closed loop blocks in recv; the rest is Requests.
#include <vector>

#include "measurement.hpp"
#include "modes.hpp"
#include "requests.hpp"
#include "sockets.hpp"
#include "watchdog.hpp"

namespace culvert::load {
namespace {

// A blocking writer of more than this could wait for an echo that waits for its reader.
constexpr std::size_t largest_blocking = 16 * 1024;

bool blocks(const Options& options) {
    return options.connections == 1 && options.bytes <= largest_blocking && options.rate == 0;
}

void one_connection(int fd, const Options& options, Measurement& measurement) {
    Message message{options.bytes};
    std::vector<char> answer(options.bytes);
    measurement.begin();
    for (std::uint64_t stamp = 1;; ++stamp) {
        const std::uint64_t began = now();
        if (const auto done = exchange(fd, message, stamp, answer); !done) return measurement.failure(done.error());
        progress();
        const std::uint64_t time = now();
        if (!measurement.goes_on(time)) return;
        measurement.op(time - began, options.bytes);
    }
}

void run(const Options& options, Measurement& measurement) {
    Requests requests{options, measurement};
    for (std::size_t i = 0; i < options.connections; ++i) {
        auto fd = connect_to({options.host, options.ports.nth(i)}, true);
        if (!fd) return measurement.failure(fd.error());
        progress();
        if (blocks(options)) return one_connection(fd->get(), options, measurement);
        if (const auto set = make_nonblocking(fd->get()); !set) return measurement.failure(set.error());
        requests.add(std::move(*fd));
    }
    requests.run();
}

}

int rr(const Options& options) {
    start_watchdog();
    Measurement measurement{options};
    run(options, measurement);
    return measurement.report();
}

}
