// SPDX-License-Identifier: Apache-2.0
#include "sysctls.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "private_mount.hpp"

namespace culvert::capture {

using base::Fd;
using base::Result;

namespace {

constexpr std::array<const char*, 4> paths{"/proc/sys/net/ipv4/tcp_fwmark_accept", "/proc/sys/net/ipv4/fwmark_reflect",
                                           "/proc/sys/net/ipv6/fwmark_reflect",
                                           "/proc/sys/net/ipv4/conf/all/src_valid_mark"};

constexpr std::array<std::uint8_t Sysctls::Values::*, 4> columns{
    &Sysctls::Values::tcp_fwmark_accept, &Sysctls::Values::fwmark_reflect, &Sysctls::Values::fwmark_reflect6,
    &Sysctls::Values::src_valid_mark};

// A container has /proc/sys read-only, but a proc of our own is not.
Fd open_for_writing(const char* path, Fd& own_proc) {
    Fd file{::open(path, O_RDWR | O_CLOEXEC)};
    if (file || errno != EROFS) return file;
    if (!own_proc) own_proc = mount_privately("proc");
    if (!own_proc) return {};
    return Fd{::openat(own_proc.get(), path + std::strlen("/proc/"), O_RDWR | O_CLOEXEC)};
}

}

Result<Sysctls> Sysctls::open() {
    Sysctls all;
    Fd own_proc;
    for (std::size_t i = 0; i < paths.size(); ++i) {
        all.files_[i] = open_for_writing(paths[i], own_proc);
        bool without_ipv6 = i == 2 && errno == ENOENT;
        if (!all.files_[i] && !without_ipv6)
            return base::errno_while(std::string{"open "} + paths[i] +
                                     " for writing (of a container: its AppArmor profile has to be unconfined)");
    }
    return all;
}

Result<Sysctls::Values> Sysctls::read() const {
    Values now;
    for (std::size_t i = 0; i < paths.size(); ++i) {
        char digit = '0';
        if (files_[i] && ::pread(files_[i].get(), &digit, 1, 0) != 1)
            return base::errno_while(std::string{"read "} + paths[i]);
        now.*columns[i] = static_cast<std::uint8_t>(digit - '0');
    }
    return now;
}

Result<> Sysctls::write(const Values& wanted) const {
    for (std::size_t i = 0; i < paths.size(); ++i) {
        if (wanted.*columns[i] == untouched) continue;
        char digit = static_cast<char>('0' + wanted.*columns[i]);
        if (files_[i] && ::pwrite(files_[i].get(), &digit, 1, 0) != 1)
            return base::errno_while(std::string{"write "} + paths[i]);
    }
    return {};
}

}
