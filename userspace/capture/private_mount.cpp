// SPDX-License-Identifier: Apache-2.0
#include "private_mount.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace culvert::capture {

using base::Fd;

Fd mount_privately(const char* type) noexcept {
#if defined(SYS_fsopen) && defined(SYS_fsconfig) && defined(SYS_fsmount)
    Fd context{static_cast<int>(::syscall(SYS_fsopen, type, 1 /* FSOPEN_CLOEXEC */))};
    if (!context) return {};
    if (::syscall(SYS_fsconfig, context.get(), 6 /* FSCONFIG_CMD_CREATE */, nullptr, nullptr, 0) != 0) return {};
    return Fd{static_cast<int>(::syscall(SYS_fsmount, context.get(), 1 /* FSMOUNT_CLOEXEC */, 0))};
#else
    errno = ENOSYS;
    return {};
#endif
}

}
