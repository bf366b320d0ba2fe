// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/file.hpp>

#include <unistd.h>

#include <cerrno>

namespace culvert::base {

Result<std::string> read_to_end(int fd, const std::string& called, std::size_t most) {
    std::string text;
    char buffer[4096];
    for (;;) {
        ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_while("read " + called);
        if (n == 0) return text;
        text.append(buffer, static_cast<std::size_t>(n));
        if (text.size() > most) return problem(called + " is larger than " + std::to_string(most >> 20) + " MiB");
    }
}

}
