// SPDX-License-Identifier: Apache-2.0
#include "capabilities.hpp"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace culvert::capture {

base::Result<> check_capabilities(std::span<const Capability> wanted) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (::syscall(SYS_capget, &header, data) != 0) return base::errno_while("read own capabilities");
    std::string missing;
    for (const Capability& capability : wanted)
        if (!(data[capability.number / 32].effective & (1u << capability.number % 32)))
            missing += std::string{missing.empty() ? "" : ", "} + capability.name;
    if (!missing.empty())
        return base::problem("capture needs " + missing + ": run as root, or give them to the container");
    return {};
}

}
