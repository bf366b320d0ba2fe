// SPDX-License-Identifier: Apache-2.0
#include "expedite.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "private_mount.hpp"

namespace culvert::capture {

using base::Fd;

namespace {

// A container has /sys read-only, but one of our own is not.
Fd open_switch() {
    Fd file{::open("/sys/kernel/rcu_expedited", O_RDWR | O_CLOEXEC)};
    if (file || errno != EROFS) return file;
    Fd own_sys = mount_privately("sysfs");
    return own_sys ? Fd{::openat(own_sys.get(), "kernel/rcu_expedited", O_RDWR | O_CLOEXEC)} : Fd{};
}

}

Expedite::Expedite(const std::string& folder) : note_{folder + "/expedited"} {
    Fd file = open_switch();
    char value = 0;
    if (!file || ::pread(file.get(), &value, 1, 0) != 1) return;
    bool noted = ::mkdir(note_.c_str(), 0700) == 0;
    bool left_on = !noted && errno == EEXIST;
    bool free = value == '0' && noted;
    if ((free || left_on) && ::pwrite(file.get(), "1", 1, 0) == 1)
        switch_ = std::move(file);
    else if (noted)
        ::rmdir(note_.c_str());
}

Expedite::~Expedite() {
    if (!switch_) return;
    (void)!::pwrite(switch_.get(), "0", 1, 0);
    ::rmdir(note_.c_str());
}

void end_expedited(const std::string& folder) {
    if (::access((folder + "/expedited").c_str(), F_OK) == 0) Expedite{folder};
}

}
