// SPDX-License-Identifier: Apache-2.0
#include "local_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <culvert/admin/control_socket.hpp>
#include <culvert/admin/doors.hpp>

namespace culvert::admin {
namespace {

using base::Fd;
using base::Result;

constexpr std::string_view fresh_suffix = ".new";

sockaddr_un address_of(const std::string& path) {
    sockaddr_un raw{};
    raw.sun_family = AF_UNIX;
    std::memcpy(raw.sun_path, path.data(), std::min(path.size(), sizeof raw.sun_path - 1));
    return raw;
}

Fd local_socket() {
    return Fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

enum class Found { nothing, dead, living, other };

Found look_at(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return errno == ENOENT ? Found::nothing : Found::other;
    if (!S_ISSOCK(status.st_mode)) return Found::other;
    Fd fd = local_socket();
    auto raw = address_of(path);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&raw), sizeof raw) == 0 || errno == EAGAIN)
        return Found::living;
    if (errno == ENOENT) return Found::nothing;
    return errno == ECONNREFUSED ? Found::dead : Found::other;
}

}

Result<Fd> listen_at(const std::string& path) {
    auto failed = [&path](const std::string& why) { return base::problem("listen on " + path + ": " + why); };
    if (path.size() + fresh_suffix.size() >= sizeof(sockaddr_un::sun_path))
        return failed("the path of a unix socket has at most 103 letters; set doors.control to a shorter one");
    std::error_code unmade;  // bind says it better
    std::filesystem::create_directories(std::filesystem::path{path}.parent_path(), unmade);

    switch (look_at(path)) {
        case Found::living:
            return failed("another process answers there; end it, or set doors.control to another path");
        case Found::other:
            return failed("something is there that is no socket of ours; set doors.control to another path");
        case Found::nothing:
        case Found::dead: break;
    }
    // Made beside it and moved: nobody finds one that does not listen yet.
    std::string fresh = path + std::string{fresh_suffix};
    ::unlink(fresh.c_str());
    Fd fd = local_socket();
    auto raw = address_of(fresh);
    bool listens = fd && ::fchmod(fd.get(), 0600) == 0 &&
                   ::bind(fd.get(), reinterpret_cast<sockaddr*>(&raw), sizeof raw) == 0 &&
                   ::listen(fd.get(), 128) == 0 && ::rename(fresh.c_str(), path.c_str()) == 0;
    if (!listens) return base::errno_while("listen on " + path);
    return fd;
}

void leave_path(const std::string& path) noexcept {
    ::unlink(path.c_str());
    if (!path.starts_with(std::string{control_sockets} + "/")) return;
    auto folder = path.substr(0, path.rfind('/'));
    ::rmdir(folder.c_str());  // the capture may keep something there as well
    ::rmdir(control_sockets);
}

void remove_dead_socket(const std::string& path) noexcept {
    if (look_at(path) == Found::dead) leave_path(path);
}

}
