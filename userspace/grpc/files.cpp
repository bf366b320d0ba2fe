// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <culvert/base/fd.hpp>

namespace culvert::grpc {

base::Result<std::string> read_file(const std::string& path) {
    constexpr std::size_t most = 1u << 20;
    base::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!fd) return base::errno_while("read " + path);
    std::string text;
    char buffer[4096];
    for (;;) {
        ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::errno_while("read " + path);
        if (n == 0) return text;
        text.append(buffer, static_cast<std::size_t>(n));
        if (text.size() > most) return base::problem(path + " is larger than 1 MiB");
    }
}

}
