// SPDX-License-Identifier: Apache-2.0
// Hears that a file has changed, also when it is replaced: by an editor's rename, or by the swap of the symlink that a
// mounted ConfigMap's files stand behind.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <culvert/base/result.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::control {

// Lives on: the thread that runs the io_context. Watches the file's directory, not the file. A file that goes is
// no news until it is back; a directory that goes is looked for once a second.
class FileWatch {
public:
    struct Pace {
        std::chrono::milliseconds quiet{50};      // told when nothing has happened for so long,
        std::chrono::milliseconds at_most{1000};  // or when the first event is so long ago
        std::chrono::milliseconds retry{1000};    // how often a lost directory is looked for
    };

    // Start it before the file is read for the first time, and no change falls between. on_change may destroy it; the
    // io_context outlives it.
    // Fails when inotify has no room or the directory is not there.
    static base::Result<std::unique_ptr<FileWatch>> start(boost::asio::io_context& io, const std::string& file,
                                                          std::function<void()> on_change, Pace pace);
    static base::Result<std::unique_ptr<FileWatch>> start(boost::asio::io_context& io, const std::string& file,
                                                          std::function<void()> on_change) {
        return start(io, file, std::move(on_change), Pace{});
    }
    ~FileWatch();

private:
    class Impl;
    explicit FileWatch(std::shared_ptr<Impl> impl) noexcept;
    std::shared_ptr<Impl> impl_;  // kept by the object, and by a wait that has been cancelled but not told yet
};

}
