// SPDX-License-Identifier: Apache-2.0
#include "log_output.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace culvert::telemetry {

using base::Fd;
using base::Result;

Result<LogOutput> LogOutput::open(const std::string& path) {
    if (path.empty()) return open_standard_output();
    // Non-blocking means nothing to a file; it is for a path that names a FIFO or a terminal.
    Fd fd{::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640)};
    if (!fd) return base::errno_while("open access log " + path);
    return LogOutput{std::move(fd), path, Kind::plain};
}

// O_NONBLOCK belongs to the open file description, which we share with whoever started us (a shell, another container
// process): setting it there would break them. So a pipe or terminal is opened once more, for a description of our own.
// A file is not: without O_APPEND the second description would start at its beginning.
Result<LogOutput> LogOutput::open_standard_output() {
    struct stat what {};
    if (::fstat(STDOUT_FILENO, &what) != 0) return base::errno_while("open access log on standard output");
    bool waits_for_reader = S_ISFIFO(what.st_mode) || S_ISCHR(what.st_mode);
    if (waits_for_reader) {
        Fd own{::open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
        if (own) return LogOutput{std::move(own), "", Kind::plain};
    }
    Fd copy{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
    if (!copy) return base::errno_while("open access log on standard output");
    Kind kind = S_ISSOCK(what.st_mode) ? Kind::socket : waits_for_reader ? Kind::borrowed_pipe : Kind::plain;
    return LogOutput{std::move(copy), "", kind};
}

std::int64_t LogOutput::size() const noexcept {
    struct stat what {};
    return ::fstat(fd_.get(), &what) == 0 && S_ISREG(what.st_mode) ? what.st_size : 0;
}

ssize_t LogOutput::write_some(std::string_view text) noexcept {
    if (kind_ == Kind::socket) return ::send(fd_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (kind_ == Kind::borrowed_pipe) {
        pollfd room{fd_.get(), POLLOUT, 0};
        if (::poll(&room, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        text = text.substr(0, PIPE_BUF);  // that much fits when poll says there is room
    }
    return ::write(fd_.get(), text.data(), text.size());
}

LogOutput::Written LogOutput::write(std::string_view text) noexcept {
    Written so_far;
    while (so_far.bytes < text.size()) {
        auto n = write_some(text.substr(so_far.bytes));
        if (n >= 0) {
            so_far.bytes += static_cast<std::size_t>(n);
        } else if (errno != EINTR) {
            so_far.error = errno;
            break;
        }
    }
    return so_far;
}

}
