// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/netns.hpp>

namespace culvert::base {

Result<Fd> open_netns(const std::string& path) {
    Fd netns{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!netns) return errno_while("open netns " + path);
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
