// SPDX-License-Identifier: Apache-2.0
#include <culvert/control/watch.hpp>

#include <sys/inotify.h>
#include <sys/stat.h>

#include <tuple>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <culvert/base/fd.hpp>
#include <culvert/base/log.hpp>

namespace culvert::control {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

// Names are not looked at: in a ConfigMap it is the link "..data" that moves, two steps away from the file. Not each
// IN_MODIFY either, but the writer's close: our own access log may be written beside the file.
constexpr std::uint32_t events = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |
                                 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

std::string directory_of(const std::string& file) {
    std::size_t slash = file.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : file.substr(0, slash);
}

// Changes whenever the file behind the path is another one, or was written to.
struct Version {
    ino_t inode = 0;
    off_t size = 0;
    timespec modified{};
    timespec changed{};

    static Version of(const std::string& file) {
        struct stat is {};
        if (::stat(file.c_str(), &is) != 0) return {};
        return {is.st_ino, is.st_size, is.st_mtim, is.st_ctim};
    }
    bool exists() const { return inode != 0; }
    friend bool operator==(const Version& a, const Version& b) {
        auto parts = [](const Version& v) {
            return std::tuple{v.inode,          v.size,           v.modified.tv_sec, v.modified.tv_nsec,
                              v.changed.tv_sec, v.changed.tv_nsec};
        };
        return parts(a) == parts(b);
    }
};

}

class FileWatch::Impl : public std::enable_shared_from_this<Impl> {
public:
    Impl(asio::io_context& io, const std::string& file, std::function<void()> on_change, Pace pace)
        : file_{file},
          directory_{directory_of(file)},
          on_change_{std::move(on_change)},
          pace_{pace},
          inotify_{io},
          quiet_{io},
          retry_{io},
          told_{Version::of(file)} {}

    base::Result<> start() {
        base::Fd fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
        if (!fd) return base::errno_while("watch " + file_);
        if (!watch_directory(fd.get())) return base::errno_while("watch directory " + directory_);
        inotify_.assign(fd.release());
        wait();
        return {};
    }

    void stop() {
        stopped_ = true;
        error_code ignored;
        inotify_.close(ignored);
        quiet_.cancel();
        retry_.cancel();
    }

private:
    bool watch_directory(int inotify) { return ::inotify_add_watch(inotify, directory_.c_str(), events) >= 0; }

    void wait() {
        inotify_.async_wait(asio::posix::descriptor_base::wait_read, [self = shared_from_this()](error_code ec) {
            if (ec || self->stopped_) return;
            self->drain();
            self->wait();
        });
    }

    void drain() {
        alignas(inotify_event) char buffer[4096];
        bool directory_lost = false;
        for (;;) {
            ssize_t got = ::read(inotify_.native_handle(), buffer, sizeof buffer);
            if (got <= 0) break;
            for (const char* at = buffer; at < buffer + got;) {
                const auto* event = reinterpret_cast<const inotify_event*>(at);
                if (event->mask & IN_MOVE_SELF) ::inotify_rm_watch(inotify_.native_handle(), event->wd);
                directory_lost |= (event->mask & IN_IGNORED) != 0;
                at += sizeof *event + event->len;
            }
        }
        if (directory_lost) find_directory();
        settle();
    }

    // Waits until the writer seems to be done.
    void settle() {
        auto now = Clock::now();
        if (!settling_) first_event_ = now;
        settling_ = true;
        quiet_.expires_at(std::min(now + pace_.quiet, first_event_ + pace_.at_most));
        quiet_.async_wait([self = shared_from_this()](error_code ec) {
            if (ec || self->stopped_) return;
            self->settling_ = false;
            self->tell();
        });
    }

    void tell() {
        Version version = Version::of(file_);
        if (!version.exists() || version == told_) return;
        told_ = version;
        on_change_();
    }

    void find_directory() {
        if (watch_directory(inotify_.native_handle())) return settle();
        retry_.expires_after(pace_.retry);
        retry_.async_wait([self = shared_from_this()](error_code ec) {
            if (!ec && !self->stopped_) self->find_directory();
        });
    }

    const std::string file_;
    const std::string directory_;
    const std::function<void()> on_change_;
    const Pace pace_;
    asio::posix::stream_descriptor inotify_;
    asio::steady_timer quiet_;
    asio::steady_timer retry_;
    Version told_;
    Clock::time_point first_event_;
    bool settling_ = false;
    bool stopped_ = false;
};

base::Result<std::unique_ptr<FileWatch>> FileWatch::start(asio::io_context& io, const std::string& file,
                                                          std::function<void()> on_change, Pace pace) {
    auto impl = std::make_shared<Impl>(io, file, std::move(on_change), pace);
    if (auto started = impl->start(); !started) return started.error();
    return std::unique_ptr<FileWatch>{new FileWatch{std::move(impl)}};
}

FileWatch::FileWatch(std::shared_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}

FileWatch::~FileWatch() {
    impl_->stop();
}

}
