// SPDX-License-Identifier: Apache-2.0
// Visiting another network namespace.
#pragma once
#include <fcntl.h>
#include <sched.h>

#include <concepts>
#include <type_traits>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::base {

// Owns a descriptor of a network namespace file (/run/netns/x, /proc/PID/ns/net).
Result<Fd> open_netns(const std::string& path);

namespace detail {
// This thread's home namespace, opened once per thread.
int home_netns() noexcept;
// Aborts if it cannot: a thread in the wrong namespace must not go on.
struct ComeHome {
    ~ComeHome();
};
}

template <class T>
struct ResultOf {
    using type = Result<T>;
};
template <class T>
struct ResultOf<Result<T>> {
    using type = Result<T>;  // a visit that can fail by itself does not nest
};

// Runs fn on this thread inside the borrowed namespace, then comes home.
// fn is a plain function on purpose: a coroutine could be resumed by another thread,
// or let someone else's code run here while we are still away.
template <std::invocable F>
typename ResultOf<std::invoke_result_t<F>>::type in_netns(int netns, F&& fn) {
    if (detail::home_netns() < 0) return errno_while("open own netns");
    if (::setns(netns, CLONE_NEWNET) != 0) return errno_while("enter pod netns");
    detail::ComeHome back;
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
        fn();
        return {};
    } else {
        return fn();
    }
}

}
