// SPDX-License-Identifier: Apache-2.0
// Writes as fast as they go, into a sink that says at the end how much came. One connection blocks in send; several are
// driven by readiness, one write per event.
#include <endian.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <vector>

#include <fmt/format.h>

#include "measurement.hpp"
#include "modes.hpp"
#include "sockets.hpp"
#include "watchdog.hpp"

namespace culvert::load {
namespace {

struct Writer {
    Fd fd;
    std::uint64_t written = 0;
    bool failed = false;
};

// False when there is nothing more to write here.
bool write_once(Writer& writer, const Message& message, const char* bytes, Measurement& measurement) {
    const ssize_t n = ::send(writer.fd.get(), bytes, message.size(), MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EAGAIN || (errno == EINTR && !is_stuck())) return true;
        measurement.failure(errno == EINTR ? nothing_came() : base::errno_while("send"));
        writer.failed = true;
        return false;
    }
    progress();
    writer.written += static_cast<std::uint64_t>(n);
    if (!measurement.goes_on(now())) return false;
    measurement.written(static_cast<std::uint64_t>(n));
    return true;
}

void write_one(Writer& writer, Message& message, Measurement& measurement) {
    const char* bytes = message.stamped(0);
    while (write_once(writer, message, bytes, measurement)) {
    }
}

void write_several(std::vector<Writer>& writers, Message& message, Measurement& measurement) {
    const char* bytes = message.stamped(0);
    Poller poller;
    for (std::size_t i = 0; i < writers.size(); ++i) {
        if (const auto set = make_nonblocking(writers[i].fd.get()); !set) measurement.failure(set.error());
        poller.add(writers[i].fd.get(), i, EPOLLOUT);
    }
    for (std::size_t alive = writers.size(); alive > 0 && !measurement.is_over();) {
        const int n = poller.wait();
        if (n == 0) return measurement.failure(nothing_came());
        for (int i = 0; i < n && !measurement.is_over(); ++i) {
            Writer& writer = writers[poller.events[i].data.u64];
            if (write_once(writer, message, bytes, measurement) || !writer.failed) continue;
            poller.change(writer.fd.get(), poller.events[i].data.u64, 0);
            writer.fd.reset();
            --alive;
        }
    }
}

// As an app has it that never heard of TCP_NODELAY.
void leave_to_nagle(int fd) {
    const int off = 0;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
}

// What the sink says it got, which must be what was written.
Result<std::uint64_t> swallowed(const Writer& writer) {
    const int fd = writer.fd.get();
    if (::shutdown(fd, SHUT_WR) != 0) return base::errno_while("shut down writing");
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    std::uint64_t count = 0;
    if (const auto got = receive_all(fd, reinterpret_cast<char*>(&count), sizeof count); !got) return got.error();
    count = be64toh(count);
    if (count == writer.written) return count;
    return base::problem(fmt::format("{} bytes were written, the sink got {}", writer.written, count));
}

}

int stream(const Options& options) {
    start_watchdog();
    Measurement measurement{options};
    std::vector<Writer> writers;
    for (std::size_t i = 0; i < options.connections; ++i) {
        auto fd = connect_to({options.host, options.ports.nth(i)}, true);
        if (!fd) {
            measurement.failure(fd.error());
            return measurement.report();
        }
        if (!options.nodelay) leave_to_nagle(fd->get());
        progress();
        writers.push_back({std::move(*fd)});
    }
    Message message{options.write};
    measurement.begin();
    if (writers.size() == 1) {
        write_one(writers[0], message, measurement);
    } else {
        write_several(writers, message, measurement);
    }
    measurement.end();
    std::uint64_t sum = 0;
    for (const Writer& writer : writers) {
        if (writer.failed) continue;
        const auto count = swallowed(writer);
        if (count) {
            sum += *count;
        } else {
            measurement.failure(count.error());
        }
    }
    measurement.note("sink_bytes", std::to_string(sum));
    return measurement.report();
}

}
