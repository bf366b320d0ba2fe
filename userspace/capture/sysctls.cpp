// SPDX-License-Identifier: Apache-2.0
#include "sysctls.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <string>

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

}

Result<Sysctls> Sysctls::open() {
    Sysctls all;
    for (std::size_t i = 0; i < paths.size(); ++i) {
        all.files_[i] = Fd{::open(paths[i], O_RDWR | O_CLOEXEC)};
        bool without_ipv6 = i == 2 && errno == ENOENT;
        if (!all.files_[i] && !without_ipv6)
            return base::errno_while(std::string{"open "} + paths[i] + " (a container needs it writable: privileged)");
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
