// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"

#include <fcntl.h>

#include <culvert/base/fd.hpp>
#include <culvert/base/file.hpp>

namespace culvert::grpc {

base::Result<std::string> read_file(const std::string& path) {
    base::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!fd) return base::errno_while("read " + path);
    return base::read_to_end(fd.get(), path, 1 << 20);
}

}
