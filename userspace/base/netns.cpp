// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/netns.hpp>

#include <linux/magic.h>
#include <sys/vfs.h>

namespace culvert::base {

Result<Fd> open_netns(const std::string& path) {
    // Not blocking: what is there may be a FIFO.
    Fd netns{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!netns) return errno_while("open netns " + path);
    struct statfs file {};
    if (::fstatfs(netns.get(), &file) != 0 || file.f_type != NSFS_MAGIC)
        return problem("open netns " + path + ": that is not a network namespace");
    return netns;
}

namespace detail {

int home_netns() noexcept {
    thread_local Fd home{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
    return home.get();
}

ComeHome::~ComeHome() {
    CV_CHECK(::setns(home_netns(), CLONE_NEWNET) == 0, "a thread can always return to the netns it came from");
}

}

}
