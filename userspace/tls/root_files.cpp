// SPDX-License-Identifier: Apache-2.0
#include "root_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include <culvert/base/file.hpp>

namespace culvert::tls {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_wait_for_lock = 10s;
constexpr auto between_tries = 20ms;
constexpr std::size_t largest_file = 1 << 20;

bool exists(const std::string& path) noexcept {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0;
}

base::Result<> write_all(int fd, const std::string& text, const std::string& path) {
    for (std::size_t done = 0; done < text.size();) {
        ssize_t n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::errno_while("write " + path);
        done += static_cast<std::size_t>(n);
    }
    return {};
}

// Why not, and what to do about it.
base::Error cannot(const std::string& doing) {
    base::Error why = base::errno_while(doing);
    if (why.code == boost::system::errc::permission_denied) return base::problem(why.to_string() + "; run as root");
    if (why.code == boost::system::errc::no_such_file_or_directory)
        return base::problem(why.to_string() + "; put the root that all nodes share, and its key, in place");
    return why;
}

base::Result<> make_directory(const std::string& directory) {
    std::error_code ignored;  // the mkdir that follows has the better words
    auto parent = std::filesystem::path{directory}.lexically_normal().parent_path();
    if (!parent.empty()) std::filesystem::create_directories(parent, ignored);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return base::errno_while("make CA directory " + directory);
    return {};
}

}

base::Result<std::string> read_file(const std::string& path) {
    base::Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) return cannot("read CA file " + path);
    return base::read_to_end(fd.get(), "CA file " + path, largest_file);
}

bool others_may_read(const std::string& path) noexcept {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0;
}

bool RootFiles::has_certificate() const noexcept {
    return exists(certificate_file());
}
bool RootFiles::has_key() const noexcept {
    return exists(key_file());
}

base::Result<base::Fd> RootFiles::lock() const {
    if (auto made = make_directory(directory_); !made) return made.error();
    std::string path = directory_ + "/lock";
    base::Fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) return cannot("open CA lock " + path);
    auto deadline = std::chrono::steady_clock::now() + longest_wait_for_lock;
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) return base::errno_while("lock " + path);
        if (std::chrono::steady_clock::now() > deadline)
            return base::problem("CA directory " + directory_ + ": another process has held " + path +
                                 " for 10 s; find it with `fuser " + path + "`, end it and start again");
        std::this_thread::sleep_for(between_tries);
    }
    return fd;
}

base::Result<> RootFiles::keep_key(const std::string& pem) const {
    return replace(key_file(), pem, 0600);
}
base::Result<> RootFiles::keep_certificate(const std::string& pem) const {
    return replace(certificate_file(), pem, 0644);
}

base::Result<> RootFiles::replace(const std::string& path, const std::string& text, unsigned mode) const {
    std::string fresh = path + ".new";
    ::unlink(fresh.c_str());  // what a killed daemon left; nobody else writes while we hold the lock
    base::Fd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)};
    if (!fd) return base::errno_while("make " + fresh);
    if (::fchmod(fd.get(), mode) != 0) return base::errno_while("set the mode of " + fresh);
    if (auto written = write_all(fd.get(), text, fresh); !written) return written;
    if (::fsync(fd.get()) != 0) return base::errno_while("sync " + fresh);
    if (::rename(fresh.c_str(), path.c_str()) != 0) return base::errno_while("rename " + fresh + " to " + path);
    base::Fd directory{::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory || ::fsync(directory.get()) != 0) return base::errno_while("sync " + directory_);
    return {};
}

}
