// SPDX-License-Identifier: Apache-2.0
// Where access log lines go: a file by its path, or standard output. Writing never waits for a reader.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::telemetry {

class LogOutput {
public:
    static base::Result<LogOutput> open(const std::string& path);  // empty: standard output

    struct Written {
        std::size_t bytes = 0;
        int error = 0;  // errno of what stopped us short; EAGAIN: the reader is slow
    };
    Written write(std::string_view text) noexcept;

    std::int64_t size() const noexcept;  // of a file
    int fd() const noexcept { return fd_.get(); }
    std::string name() const { return path_.empty() ? "standard output" : path_; }
    const std::string& path() const noexcept { return path_; }

private:
    enum class Kind {
        plain,          // a file, or opened by us as non-blocking
        socket,         // standard output is one: only send() can be told not to wait
        borrowed_pipe,  // standard output, and it could not be opened again: room is asked for before each write
    };
    LogOutput(base::Fd fd, std::string path, Kind kind) : fd_{std::move(fd)}, path_{std::move(path)}, kind_{kind} {}
    static base::Result<LogOutput> open_standard_output();
    ssize_t write_some(std::string_view text) noexcept;

    base::Fd fd_;
    std::string path_;
    Kind kind_;
};

}
